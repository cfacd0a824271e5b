"""Grad-CAM against what it is in closed form; targets by name."""

import cv2
import fakes
import keras
import numpy as np
import pytest
from explain.models import classifier
from keras import ops

from visiontasks import explain
from visiontasks.errors import UserError
from visiontasks.explain.cam import cam_of, weighted
from visiontasks.explain.scoring import Explained
from visiontasks.heads.unet import UNet
from visiontasks.model import VisionModel


def test_behind_an_average_pooling_it_is_cam():
    """Selvaraju et al. 2017, section 3.1: the weights are those of the dense layer, over the number of cells."""
    model, images = classifier()
    features = ops.convert_to_numpy(model.backbone(images)["C3"])
    kernel, _ = model.heads["classifier"].top[-1].get_weights()
    expected = np.maximum(features @ kernel[:, 2], 0) / features[0, ..., 0].size
    expected = [cv2.resize(one, (32, 32), interpolation=cv2.INTER_LINEAR) for one in expected]
    np.testing.assert_allclose(explain.grad_cam(model, images, "ring"), expected, rtol=1e-4, atol=1e-7)


def test_of_a_place_each_cell_has_its_own_weight():
    """Draelos and Carin 2020; behind an average pooling and one linear layer that is Grad-CAM."""
    model, images = classifier()
    pooled, local = (explain.grad_cam(model, images, "ring", local=local) for local in (False, True))
    np.testing.assert_array_equal(explain.grad_cam(model, images, "ring"), pooled)
    np.testing.assert_allclose(local, pooled, rtol=1e-4, atol=1e-7)
    model = VisionModel(model.backbone, UNet(fakes.CLASSES, filters=[4, 4, 4]))
    one = Explained(model, images, "ring", box=[0, 0, 8, 8])
    features, slopes = one.feature_gradients("C2")
    assert np.ptp(slopes, axis=(1, 2)).max() > 0
    expected = [cv2.resize(x, (32, 32)) for x in np.maximum((features * slopes).sum(axis=-1), 0)]
    np.testing.assert_allclose(cam_of(one, "C2"), expected, rtol=1e-4, atol=1e-7)
    assert not np.allclose(cam_of(one, "C2"), cam_of(one, "C2", local=False))


@pytest.mark.parametrize("size", [1, 1e-7])
def test_plus_equals_a_slow_loop_for_gradients_of_any_size(size):
    rng = np.random.default_rng(0)
    features, slopes = np.maximum(rng.normal(size=(1, 3, 4, 5)), 0), size * rng.normal(size=(1, 3, 4, 5))
    expected = np.zeros((3, 4))
    for k in range(5):
        a, g, weight = features[0, ..., k], slopes[0, ..., k], 0.0
        for i in np.ndindex(3, 4):
            weight += g[i] ** 2 / (2 * g[i] ** 2 + a.sum() * g[i] ** 3) * max(g[i], 0)
        expected += weight * a
    np.testing.assert_allclose(weighted(features, slopes, plus=True)[0], np.maximum(expected, 0))


def test_targets_are_names_numbers_and_kinds():
    model, images = classifier()
    scores = ops.convert_to_numpy(model(images))
    for target in ("ring", 2, "2", "class:ring", "class:2"):
        one = Explained(model, images, target)
        assert one.names == ["ring", "ring"]
        np.testing.assert_allclose(one.scores(), scores[:, 2], rtol=1e-5)
    assert Explained(model, images).names == [("disc", "bar", "ring")[i] for i in scores.argmax(axis=1)]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"target": "rign"}, "Did you mean 'ring'"),
        ({"target": "class:7"}, "below 3"),
        ({"target": "joint:nose"}, "has no 'joint:nose'"),
        ({"head": "unet"}, "Choices: classifier"),
        ({"tap": "C2"}, "Choices: C3"),
        ({"box": [0, 0, 9, 9]}, "leave it out"),
    ],
)
def test_wrong_use_names_the_argument(given, says):
    model, images = classifier()
    with pytest.raises(ValueError, match=says):
        explain.grad_cam(model, images, **given)
    with pytest.raises(UserError, match="uint8"):
        explain.grad_cam(model, images / 255)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_gives_the_same_map(policy):
    model, images = classifier()
    keras.config.set_dtype_policy(policy)
    half = keras.models.clone_model(model)
    assert half.heads["classifier"].top[0].compute_dtype in ("float32", policy.removeprefix("mixed_"))
    half.set_weights(model.get_weights())
    found, expected = (explain.grad_cam(one, images, "ring") for one in (half, model))
    np.testing.assert_allclose(found, expected, atol=0.05 * expected.max())
