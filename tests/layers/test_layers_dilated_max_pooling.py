import keras
import numpy as np
import pytest

from visiontasks.layers.dilated_max_pooling import DilatedMaxPooling2D


@pytest.mark.parametrize(("size", "rate"), [(2, 1), (2, 2), (3, 2)])
def test_each_value_is_the_maximum_of_its_spread_window(size, rate):
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype("float32")
    found = keras.ops.convert_to_numpy(DilatedMaxPooling2D(size, rate)(x))
    assert found.shape == x.shape
    for i, j in np.ndindex(7, 8):
        window = x[:, i : i + size * rate : rate, j : j + size * rate : rate][:, :size, :size]
        np.testing.assert_array_equal(found[:, i, j], window.max((1, 2)))


def test_every_second_one_is_what_pooling_gives():
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype("float32")
    inputs = keras.Input((None, None, 3))  # of any size
    found = keras.ops.convert_to_numpy(keras.Model(inputs, DilatedMaxPooling2D()(inputs))(x))
    np.testing.assert_array_equal(found[:, ::2, ::2], keras.ops.convert_to_numpy(keras.layers.MaxPooling2D(2)(x)))
