import keras
import numpy as np
import passes
import pytest

from visiontasks.layers.l2_pooling import L2Pooling2D


@pytest.mark.parametrize(("size", "strides"), [(2, None), (3, 2), (3, 1)])
def test_each_value_is_the_length_of_its_window(size, strides):
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype("float32")
    found = keras.ops.convert_to_numpy(L2Pooling2D(size, strides)(x))
    step = strides or size
    assert found.shape[1:3] == ((7 - size) // step + 1, (8 - size) // step + 1)
    for i, j in np.ndindex(found.shape[1:3]):
        window = x[:, i * step : i * step + size, j * step : j * step + size]
        np.testing.assert_allclose(found[:, i, j], np.sqrt((window**2).sum((1, 2))), rtol=1e-5)


def test_large_values_in_half_precision_and_no_slope_at_zero():
    found = L2Pooling2D(2, dtype="mixed_float16")(np.full((1, 2, 2, 1), 3000, "float16"))
    assert float(found[0, 0, 0, 0]) == 6000
    _, (slope,) = passes.gradients(lambda x: keras.ops.sum(L2Pooling2D(2)(x[0])), [np.zeros((1, 4, 4, 1), "float32")])
    assert not keras.ops.convert_to_numpy(slope).any()
