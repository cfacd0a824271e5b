"""Deconvolution against a slow network of loops that unpools, rectifies and transposes as the paper says."""

import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.errors import UserError
from visiontasks.explain.deconvolving import Deconvnet


def network():
    """(a convolution, ReLU, an overlapping max pooling, a convolution with stride and ReLU; its two convolutions)."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((9, 12, 3))
    # so low a bias that whole windows are 0, where guided differs
    first = keras.layers.Conv2D(4, 3, padding="same", bias_initializer=keras.initializers.Constant(-99))
    second = keras.layers.Conv2D(5, 3, strides=2, activation="relu", bias_initializer="normal")
    x = keras.layers.MaxPooling2D(3, 2)(keras.layers.ReLU()(first(keras.layers.ZeroPadding2D(1)(inputs))))
    return keras.Model(inputs, {"C2": second(x)}), first, second


def convolved(x, layer, stride):
    """(H, W, C) convolved without padding."""
    kernel, bias = layer.get_weights()
    rows, columns = ((length - kernel.shape[i]) // stride + 1 for i, length in enumerate(x.shape[:2]))
    out = np.zeros((rows, columns, kernel.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        window = x[i * stride : i * stride + kernel.shape[0], j * stride : j * stride + kernel.shape[1]]
        out[i, j] = np.tensordot(window, kernel, 3) + bias
    return out


def transposed(y, layer, stride, size):
    kernel, _ = layer.get_weights()
    x = np.zeros((*size, kernel.shape[2]))
    for i, j in np.ndindex(y.shape[:2]):
        for k in range(y.shape[2]):
            x[i * stride : i * stride + 3, j * stride : j * stride + 3] += y[i, j, k] * kernel[..., k]
    return x


def deconvolved(image, first, second, channel, position=None, guided=False):
    """(H, W, 3): one activation back to the image."""
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))  # by the layer, and by "same"
    one = convolved(padded, first, 1)
    rectified = np.maximum(one, 0)
    rows, columns = ((length - 3) // 2 + 1 for length in rectified.shape[:2])
    pooled, switches = np.zeros((rows, columns, 4)), {}
    for place in np.ndindex(rows, columns, 4):
        i, j, k = place
        window = rectified[2 * i : 2 * i + 3, 2 * j : 2 * j + 3, k]
        switches[place] = (2 * i + window.argmax() // 3, 2 * j + window.argmax() % 3, k)
        pooled[place] = window.max()
    top = np.maximum(convolved(pooled, second, 2), 0)
    start = np.zeros_like(top)
    position = position or np.unravel_index(top[..., channel].argmax(), top.shape[:2])
    start[(*position, channel)] = top[(*position, channel)]
    back = np.zeros_like(one)
    for place, value in np.ndenumerate(transposed(start, second, 2, pooled.shape[:2])):
        back[switches[place]] += value
    back = np.maximum(back, 0) * ((one > 0) if guided else 1)
    return transposed(back, first, 1, padded.shape[:2])[2:-2, 2:-2], start.max()


@pytest.mark.parametrize("guided", [False, True])
def test_it_equals_slow_unpooling_rectification_and_transposition(guided):
    backbone, *layers = network()
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 12, 3), dtype=np.uint8)
    deconvnet, seen = Deconvnet(backbone, "C2", guided), 0
    shape = backbone.output["C2"].shape[1:]
    for channel in range(shape[2]):
        found = deconvnet(images, channel)
        for image, one in zip(images, found, strict=True):
            expected, value = deconvolved(np.float64(image), *layers, channel, None, guided)
            np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-4 * max(1, np.abs(expected).max()))
            seen += value > 0
        # at the corners, where padding takes part
        positions = [(0, 0), (shape[0] - 1, shape[1] - 1)]
        found = deconvnet(images, channel, positions)
        for image, place, one in zip(images, positions, found, strict=True):
            expected, _ = deconvolved(np.float64(image), *layers, channel, place, guided)
            np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-4 * max(1, np.abs(expected).max()))
    assert seen >= 5, "too many channels are dead"


def test_guided_differs_and_both_leave_the_backbone_as_it_is():
    backbone, *_ = network()
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 12, 3), dtype=np.uint8)
    before, plain = ops.convert_to_numpy(backbone(images)["C2"]), Deconvnet(backbone, "C2")
    np.testing.assert_allclose(ops.convert_to_numpy(plain._network(ops.cast(images, "float32"))), before, rtol=1e-5)
    guided = Deconvnet(backbone, "C2", guided=True)
    assert any(not np.allclose(plain(images, k), guided(images, k)) for k in range(5))
    assert [type(layer).__name__ for layer in backbone.layers][3] == "ReLU"


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (keras.layers.LeakyReLU(), "LeakyReLU"),
        (keras.layers.ReLU(negative_slope=0.1), "ReLU"),
        (keras.layers.Activation("silu"), "silu"),
        (keras.layers.Conv2D(4, 1, activation="tanh"), "tanh"),
    ],
)
def test_other_activations_are_refused(layer, says):
    inputs = keras.Input((8, 8, 3))
    backbone = keras.Model(inputs, {"C0": inputs, "C1": layer(inputs)})
    with pytest.raises(UserError, match=f"backbone: deconvolution is defined only for ReLU, but layer .* uses {says}"):
        Deconvnet(backbone, "C1")
    Deconvnet(backbone, "C0")  # it is not on the way


def test_wrong_use_names_the_argument():
    backbone, *_ = network()
    with pytest.raises(UserError, match="tap: expected one of C2"):
        Deconvnet(backbone, "C3")
    with pytest.raises(UserError, match="channels: C2 has channels 0 to 4"):
        Deconvnet(backbone, "C2")(np.zeros((1, 9, 12, 3), np.uint8), 5)


def test_float16_neither_loses_small_gradients_nor_overflows_from_large_values():
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_float16")
    inputs = keras.Input((9, 12, 3))
    small = {"kernel_initializer": keras.initializers.RandomUniform(0, 2e-4), "activation": "relu"}
    x = keras.layers.Conv2D(4, 3, bias_initializer="ones", **small)(inputs)
    x = keras.layers.Conv2D(4, 3, bias_initializer=keras.initializers.Constant(600), **small)(x)
    half = keras.Model(inputs, {"C1": x})
    keras.config.set_dtype_policy("float32")
    exact = keras.models.clone_model(half, clone_function=lambda layer: type(layer).from_config(plain(layer)))
    exact.set_weights(half.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (1, 9, 12, 3), dtype=np.uint8)
    found, expected = (Deconvnet(one, "C1", guided=True)(images, 1, [(2, 3)]) for one in (half, exact))
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, atol=0.05 * expected.max())


def plain(layer):
    return {**layer.get_config(), "dtype": "float32"}
