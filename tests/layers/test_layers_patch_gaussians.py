"""The Gaussians of PaDiM against NumPy's, position by position, in float64."""

import keras
import numpy as np
import pytest

from visiontasks.layers.patch_gaussians import PatchGaussians

RNG = np.random.default_rng(0)
# far from 0, where sums of squares would lose their digits in float32
NORMAL = np.float32(300 + RNG.normal(size=(23, 3, 4, 5)) @ RNG.normal(size=(5, 5)))
OTHER = np.float32(300 + 2 * RNG.normal(size=(6, 3, 4, 5)))


def fitted(batches, regularization=0.01):
    layer = PatchGaussians(regularization)
    layer.build((None, 3, 4, 5))
    layer.fit(batches)
    return layer


def slow_distances(normal, images, regularization):
    found = np.zeros(images.shape[:3])
    for i, j in np.ndindex(*images.shape[1:3]):
        x = normal[:, i, j].astype("float64")
        inverse = np.linalg.inv(np.cov(x, rowvar=False) + regularization * np.eye(5))
        for k, image in enumerate(images):
            difference = image[i, j] - x.mean(axis=0)
            found[k, i, j] = np.sqrt(difference @ inverse @ difference)
    return found


@pytest.mark.parametrize("regularization", [0.01, 1.0])
def test_distances_equal_a_slow_loop(regularization):
    layer = fitted([NORMAL[:8], NORMAL[8:9], NORMAL[9:9], NORMAL[9:]], regularization)
    found = keras.ops.convert_to_numpy(layer(OTHER))
    np.testing.assert_allclose(found, slow_distances(NORMAL, OTHER, regularization), rtol=1e-3)


def test_how_images_are_batched_changes_nothing():
    one, each = (fitted(batches) for batches in ([NORMAL], [row[None] for row in NORMAL]))
    np.testing.assert_allclose(each.mean, one.mean, rtol=1e-6)
    np.testing.assert_allclose(each.whitening, one.whitening, rtol=2e-3, atol=1e-4)


def test_it_stays_float32_in_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = fitted([NORMAL])
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in layer.weights} == {"float32"}
    found = keras.ops.convert_to_numpy(layer(OTHER))
    np.testing.assert_allclose(found, slow_distances(NORMAL, OTHER, 0.01), rtol=1e-3)


def test_one_image_has_no_covariance():
    with pytest.raises(ValueError, match="expected 2 or more normal images to fit a covariance, got 1"):
        fitted([NORMAL[:1], NORMAL[:0]])
