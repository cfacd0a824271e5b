import keras
import numpy as np
import pytest

from visiontasks.layers.nearest_resize import NearestResize


def resized(x, size):
    return keras.ops.convert_to_numpy(NearestResize()([x, np.zeros((len(x), *size, 7), "float32")]))


def test_doubling_is_keras_own():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    np.testing.assert_array_equal(resized(x, (6, 8)), keras.ops.convert_to_numpy(keras.layers.UpSampling2D(2)(x)))


@pytest.mark.parametrize("size", [(3, 4), (5, 7), (6, 7), (12, 16), (2, 3), (7, 9), (1, 20)])
def test_each_position_is_a_copy_of_the_one_it_falls_on(size):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    # a doubled level that is one too large is cut
    rows, columns = (
        [i // 2 if new == 2 * old - 1 else i * old // new for i in range(new)]
        for new, old in zip(size, (3, 4), strict=True)
    )
    np.testing.assert_array_equal(resized(x, size), x[:, rows][:, :, columns])


def test_in_a_graph_of_any_size_and_saved():
    a, b = keras.Input((None, None, 3)), keras.Input((None, None, 2))
    model = keras.Model([a, b], NearestResize()([a, b]))
    assert model.output.shape == (None, None, None, 3)
    assert model([np.zeros((1, 3, 3, 3)), np.zeros((1, 5, 6, 2))]).shape == (1, 5, 6, 3)
    again = keras.Model.from_config(model.get_config())
    assert again([np.zeros((1, 3, 3, 3)), np.zeros((1, 5, 6, 2))]).shape == (1, 5, 6, 3)
