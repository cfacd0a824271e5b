"""A dream excites its channel far more than what it began from, and is the same for the same seed."""

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks import explain
from visiontasks.errors import UserError
from visiontasks.explain import dreaming


def test_it_excites_the_channel_and_depends_on_the_seed_alone():
    keras.utils.set_random_seed(0)
    backbone = fakes.backbone((None, None))
    images, values = explain.dream(backbone, "C2", [1, 5], size=(24, 32), steps=24)
    assert images.shape == (2, 24, 32, 3) and images.dtype == np.uint8 and values.shape == (2,)
    maps = ops.convert_to_numpy(backbone(images)["C2"]).mean(axis=(1, 2))
    np.testing.assert_allclose(values, [maps[0, 1], maps[1, 5]], rtol=1e-4)
    _, first = explain.dream(backbone, "C2", [1, 5], size=(24, 32), steps=1)
    assert (values > 1.5 * first).all()
    again, _ = explain.dream(backbone, "C2", [1], size=(24, 32), steps=1, seed=3)
    same, _ = explain.dream(backbone, "C2", [1], size=(24, 32), steps=1, seed=3)
    other, _ = explain.dream(backbone, "C2", [1], size=(24, 32), steps=1, seed=4)
    np.testing.assert_array_equal(again, same)
    assert (again != other).any()


def test_the_spectrum_is_fouriers_and_low_frequencies_count_most():
    size = (6, 8)
    spectra = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32)
    scales = dreaming._scales(size)
    assert scales[0, 0] == scales.max() and scales[0, 1] == pytest.approx(2 * scales[0, 2])
    found = ops.convert_to_numpy(dreaming._image(ops.convert_to_tensor(spectra), ops.convert_to_tensor(scales)))
    expected = np.zeros((*size, 3))
    for y, x in np.ndindex(size):
        for u, v in np.ndindex(size):
            angle = 2 * np.pi * (u * y / size[0] + v * x / size[1])
            expected[y, x] += (np.cos(angle) + np.sin(angle)) * (spectra[0, :, u, v] * scales[u, v])
    colors = dreaming.COLORS / np.linalg.norm(dreaming.COLORS, axis=0).max()
    expected = 255 / (1 + np.exp(-dreaming.CONTRAST * expected @ colors.T))
    np.testing.assert_allclose(found[0], expected, rtol=1e-3)


def test_float16_gives_the_same_dream():
    """Whose gradients, 1e-8 here, would be 0 without a scale; and a mean of 48 values would be rounded."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_float16")
    inputs = keras.Input((24, 32, 3))
    small = {"kernel_initializer": keras.initializers.RandomUniform(-1e-3, 1e-3), "padding": "same", "strides": 2}
    x = keras.layers.Conv2D(4, 3, bias_initializer="ones", **small)(inputs)
    half = keras.Model(inputs, {"C2": keras.layers.Conv2D(4, 3, **small)(x)})
    keras.config.set_dtype_policy("float32")
    exact = keras.models.clone_model(half, clone_function=plain)
    exact.set_weights(half.get_weights())
    first, _ = explain.dream(half, "C2", [1], steps=1)
    found, expected = (explain.dream(one, "C2", [1], steps=4)[0].astype(float) for one in (half, exact))
    assert np.abs(found - first).max() > 5
    assert np.abs(found - expected).mean() < 0.2 * np.abs(found - first).mean()


def plain(layer):
    return type(layer).from_config({**layer.get_config(), "dtype": "float32"})


def test_motion_is_about_the_middle():
    rng = np.random.default_rng(0)
    for _ in range(5):
        (a, b, c, d, e, f, *_), size = dreaming._motion((21, 31), rng)[0], (21, 31)
        middle = np.array([a * 15 + b * 10 + c, d * 15 + e * 10 + f]) - [15, 10]
        assert np.abs(middle).max() <= dreaming.SHIFT + 1e-4, "the middle moves by the shift alone"
        assert np.hypot(a, d) == pytest.approx(1, abs=dreaming.ZOOM + 1e-6) and size == (21, 31)


def test_wrong_use_names_the_argument():
    backbone = fakes.backbone((32, 32))
    with pytest.raises(UserError, match="size: expected 32×32"):
        explain.dream(backbone, "C2", [0], size=(32, 40))
    with pytest.raises(UserError, match="tap: expected one of C1"):
        explain.dream(backbone, "C9", [0])
