"""The fused batch normalization against NumPy in float64."""

import keras
import numpy as np
import pytest

from visiontasks.ops.batch_normalization import can_fuse, fused

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an operation of TensorFlow's")
rng = np.random.default_rng(0)
X = rng.normal(2, 3, (4, 6, 5, 8)).astype("float32")
SCALE, OFFSET = rng.normal(size=(2, 8)).astype("float32")


def test_moments_of_the_batch_the_variance_biased():
    mean, variance = X.astype("float64").mean((0, 1, 2)), X.astype("float64").var((0, 1, 2))
    got = [keras.ops.convert_to_numpy(one) for one in fused(keras.ops.array(X), SCALE, OFFSET, 1e-3)]
    np.testing.assert_allclose(got[0], (X - mean) / np.sqrt(variance + 1e-3) * SCALE + OFFSET, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[1], mean, rtol=1e-6)
    np.testing.assert_allclose(got[2], variance, rtol=1e-6)


def test_moments_that_are_given():
    mean, variance = rng.normal(size=8).astype("float32"), rng.uniform(1, 2, 8).astype("float32")
    got = [keras.ops.convert_to_numpy(one) for one in fused(keras.ops.array(X), SCALE, OFFSET, 1e-3, mean, variance)]
    expected = (X - mean) / np.sqrt(variance.astype("float64") + 1e-3) * SCALE + OFFSET
    np.testing.assert_allclose(got[0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got[1], mean)
    np.testing.assert_array_equal(got[2], variance)


@pytest.mark.parametrize(("shape", "dtype", "fits"), [((1, 2, 2, 3), "bfloat16", True), ((2, 3), "float32", False)])
def test_what_the_operation_takes(shape, dtype, fits):
    assert can_fuse(keras.ops.zeros(shape, dtype)) is fits
    assert not can_fuse(keras.ops.zeros((1, 2, 2, 3), "float64"))
