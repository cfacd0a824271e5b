"""Both equal the k×k convolution whose kernel they factor."""

import keras
import numpy as np
import pytest

from visiontasks.layers.separated_convolutions import FlattenedConv2D, SpatiallySeparableConv2D

X = np.random.default_rng(0).normal(size=(2, 9, 8, 4)).astype("float32")


def slow(x, kernel, bias, strides=1):
    """A convolution without padding, by a loop over positions."""
    k = len(kernel)
    rows, columns = ((length - k) // strides + 1 for length in x.shape[1:3])
    found = np.zeros((len(x), rows, columns, kernel.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        window = x[:, i * strides : i * strides + k, j * strides : j * strides + k]
        found[:, i, j] = np.einsum("byxc,yxcf->bf", window, kernel) + bias
    return found


def with_random_weights(layer):
    layer.build(X.shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize(("k", "strides"), [(3, 1), (5, 1), (3, 2)])
def test_spatially_separable(k, strides):
    layer = with_random_weights(SpatiallySeparableConv2D(5, k, strides))
    down, across, bias = layer.get_weights()
    assert down.shape == (k, 1, 4, 5) and across.shape == (1, k, 5, 5)
    kernel = np.einsum("ycm,xmf->yxcf", down[:, 0], across[0])
    found = keras.ops.convert_to_numpy(layer(X))
    assert found.shape == layer.compute_output_shape(X.shape)
    np.testing.assert_allclose(found, slow(X, kernel, bias, strides), rtol=1e-4, atol=1e-4)


def test_flattened_has_kernels_of_rank_one():
    layer = with_random_weights(FlattenedConv2D(5, 3))
    lateral, down, across, bias = layer.get_weights()
    assert [w.size for w in (lateral, down, across)] == [4 * 5, 3 * 5, 3 * 5]
    kernel = np.einsum("cf,yf,xf->yxcf", lateral[0, 0], down[:, 0, :, 0], across[0, :, :, 0])
    found = keras.ops.convert_to_numpy(layer(X))
    np.testing.assert_allclose(found, slow(X, kernel, bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", [SpatiallySeparableConv2D, FlattenedConv2D])
def test_same_padding_keeps_the_size_and_bias_is_an_argument(cls):
    layer = cls(6, 3, padding="same", use_bias=False)
    assert layer(X).shape == (2, 9, 8, 6)
    assert not any(v.path.endswith("bias") for v in layer.weights)
