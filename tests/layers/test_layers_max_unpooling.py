import keras
import numpy as np
import pytest

from visiontasks.layers.max_unpooling import MaxPoolingWithPositions2D, MaxUnpooling2D

to_numpy = keras.ops.convert_to_numpy


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("size", [2, 3])
def test_the_maxima_are_those_of_keras(size):
    x = random((2, 6 * size, 4 * size, 3))
    maxima, _ = MaxPoolingWithPositions2D(size)(x)
    np.testing.assert_array_equal(to_numpy(maxima), to_numpy(keras.layers.MaxPooling2D(size)(x)))


@pytest.mark.parametrize("shape", [(6, 8), (7, 9)])
def test_pooling_and_unpooling_are_inverse_at_the_maxima(shape):
    x = random((2, *shape, 3))
    maxima, positions = MaxPoolingWithPositions2D()(x)
    back = to_numpy(MaxUnpooling2D()([maxima, positions, x]))
    assert back.shape == x.shape
    assert (back != 0).sum() == maxima.shape[1] * maxima.shape[2] * 2 * 3
    np.testing.assert_array_equal(back[back != 0], x[back != 0])
    # a positive map is pooled back to what it was spread from
    again, same = MaxPoolingWithPositions2D()(to_numpy(MaxUnpooling2D()([np.abs(maxima), positions])))
    np.testing.assert_array_equal(to_numpy(again), np.abs(maxima))
    np.testing.assert_array_equal(to_numpy(same), to_numpy(positions))


def test_other_values_land_where_the_maxima_were():
    x, values = random((1, 4, 4, 1)), np.float32([[[[1], [2]], [[3], [4]]]])
    _, positions = MaxPoolingWithPositions2D()(x)
    back = to_numpy(MaxUnpooling2D()([values, positions]))[0, :, :, 0]
    for i, j in np.ndindex(2, 2):
        window = x[0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, 0]
        expected = np.where(window == window.max(), values[0, i, j, 0], 0)
        np.testing.assert_array_equal(back[2 * i : 2 * i + 2, 2 * j : 2 * j + 2], expected)


def test_a_graph_of_any_size_says_its_shapes():
    x = keras.Input((None, None, 3))
    maxima, positions = MaxPoolingWithPositions2D()(x)
    assert maxima.shape == positions.shape == (None, None, None, 3)
    assert MaxUnpooling2D()([maxima, positions, x]).shape == (None, None, None, 3)
    assert MaxPoolingWithPositions2D()(keras.Input((7, 8, 3)))[0].shape == (None, 4, 4, 3)
