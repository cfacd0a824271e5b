"""The anomaly head: what it learns from, its thresholds, its map, and PaDiM as a whole against a slow version."""

import cv2
import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.heads.anomaly import Anomaly
from visiontasks.heads.classifier import Classifier
from visiontasks.model import VisionModel

SIZE = (32, 48)
IMAGES = np.random.default_rng(0).integers(80, 120, (16, *SIZE, 3), np.uint8)
IMAGES[:, ::8] = 200


def model_of(**given):
    keras.utils.set_random_seed(0)
    return VisionModel(fakes.backbone(SIZE, levels=(1, 2, 3, 4)), Anomaly(("good", "defect"), **given))


def damaged():
    """(three images, of which the last two have a bright spot; the spots' centers, row and column)."""
    images = IMAGES[:3].copy()
    images[1, 18:24, 6:12] = images[2, 4:10, 34:40] = (255, 0, 255)
    return images, [(21, 9), (7, 37)]


@pytest.mark.parametrize("method", ["padim", "patchcore"])
def test_it_finds_what_normal_images_do_not_have_and_where(method):
    model = model_of(method=method, levels=["C2"], memory=60, smoothing=1.0)
    model.adapt(IMAGES, batch_size=5)
    images, centers = damaged()
    predictions = model.predict(images, verbose=0)
    assert predictions["map"].shape == (3, *SIZE) and predictions["map"].dtype == np.float32
    assert predictions["score"][0] < 1.2 < predictions["score"][1:].min()
    for values, center in zip(predictions["map"][1:], centers, strict=True):
        peak = np.unravel_index(values.argmax(), SIZE)
        assert np.abs(np.subtract(peak, center)).max() <= 8  # two cells


def test_padim_equals_a_slow_version():
    model = model_of(levels=["C2"], components=3, held_out=0.0, quantile=1.0, smoothing=2.0)
    model.adapt(IMAGES, batch_size=16)
    head = model.heads["anomaly"]
    dimensions = ops.convert_to_numpy(head.dimensions)
    assert len(set(dimensions)) == 3

    def features(images):
        return model.backbone.predict(images, verbose=0)["C2"][..., dimensions].astype("float64")

    images = damaged()[0]
    normal, others = features(IMAGES), features(images)
    maps = np.zeros((3, *normal.shape[1:3]), np.float32)
    for i, j in np.ndindex(maps.shape[1:]):
        x = normal[:, i, j]
        inverse = np.linalg.inv(np.cov(x, rowvar=False) + 0.01 * np.eye(3))
        for k, difference in enumerate(others[:, i, j] - x.mean(axis=0)):
            maps[k, i, j] = np.sqrt(difference @ inverse @ difference)
    large = [cv2.resize(one, SIZE[::-1], interpolation=cv2.INTER_LINEAR) for one in maps]
    expected, rows, columns = np.zeros((3, *SIZE)), *np.ogrid[: SIZE[0], : SIZE[1]]
    for i, j in np.ndindex(SIZE):
        weights = np.exp(-((rows - i) ** 2 + (columns - j) ** 2) / (2 * 2.0**2))
        expected[:, i, j] = [(weights * one).sum() / weights.sum() for one in large]
    raw = model(images, training=False)
    np.testing.assert_allclose(ops.convert_to_numpy(raw["map"]), expected, rtol=1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(raw["score"]), expected.max(axis=(1, 2)), rtol=1e-3)


def test_only_images_of_the_first_class_are_learned_from():
    images, labels = np.concatenate([IMAGES, damaged()[0][1:]]), np.int32([0] * 16 + [1, -1])
    order = np.random.default_rng(0).permutation(18)
    with_others, alone = model_of(held_out=0.0), model_of(held_out=0.0)
    with_others.adapt(images[order], labels[order], batch_size=4)
    alone.adapt({"image": images[order][labels[order] == 0]}, batch_size=16)
    for a, b in zip(with_others.heads["anomaly"].weights, alone.heads["anomaly"].weights, strict=True):
        if a.name != "thresholds":  # of the first batch
            np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize(
    ("share", "out"),
    [(0.25, [3, 7, 11, 15]), (0.4, [2, 4, 7, 9, 12, 14]), (0.7, [1, 2, 4, 5, 7, 8, 9, 11, 12, 14, 15])],
)
def test_thresholds_are_the_quantile_of_images_that_were_held_out(share, out):
    model = model_of(held_out=share, quantile=1.0)
    model.adapt(IMAGES, batch_size=6)
    out = np.isin(np.arange(16), out)
    assert out.sum() == int(share * 16)
    scores = model.predict(IMAGES, verbose=0)["score"]
    assert scores[out].max() == pytest.approx(1, rel=1e-4)
    again = model_of(held_out=0.0)
    again.adapt(IMAGES[~out], batch_size=16)
    for a, b in zip(model.heads["anomaly"].normality.weights, again.heads["anomaly"].normality.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3)


def test_adapting_again_begins_anew_and_the_backbone_stays():
    model = model_of(components=4)
    before = [np.array(weight) for weight in model.backbone.weights]
    model.adapt(IMAGES[:8])
    first = [np.array(weight) for weight in model.heads["anomaly"].weights]
    model.adapt(IMAGES)
    model.adapt(IMAGES[:8])
    for a, b in zip(first, model.heads["anomaly"].weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(before, model.backbone.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_half_precision_keeps_statistics_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = model_of()
    model.adapt(IMAGES)
    head = model.heads["anomaly"]
    kinds = {keras.backend.standardize_dtype(weight.dtype) for weight in head.weights}
    assert kinds == {"float32", "int32"}
    assert all(value.dtype == np.float32 for value in model.predict(IMAGES[:2], verbose=0).values())
    assert model.predict(damaged()[0], verbose=0)["score"][1:].min() > 1.2


def test_what_does_not_fit_is_an_error():
    model = model_of()
    with pytest.raises(ValueError, match="fit: head 'anomaly' learns without gradients: call adapt"):
        model.fit(IMAGES, np.zeros(16, int))
    with pytest.raises(ValueError, match="anomaly: expected 2 or more normal images to fit a covariance, got 0"):
        model.adapt(IMAGES, np.ones(16, int))
    with pytest.raises(ValueError, match="'anomaly' learns by statistics of the backbone's features"):
        heads = {"anomaly": Anomaly(2), "classifier": Classifier(2)}
        VisionModel(fakes.backbone(SIZE), heads)
    classifier = VisionModel(fakes.backbone(SIZE), Classifier(2))
    with pytest.raises(ValueError, match=r"adapt: the heads \['classifier'\] learn by gradients: call fit"):
        classifier.adapt(IMAGES)
    with pytest.raises(ValueError, match="anomaly: needs a known image size"):
        VisionModel(fakes.backbone(), Anomaly(2))
