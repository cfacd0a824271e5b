"""Gradients equal finite differences of a small network, on each backend that is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.explain.gradients import gradients

ROOT = Path(__file__).parents[2]


def function(images):
    """A number for each of images (B, 6, 5, 2), smooth, of the argument's dtype."""
    rng = np.random.default_rng(0)
    kernel, weights = (ops.convert_to_tensor(rng.normal(size=s), images.dtype) for s in ((3, 3, 2, 4), (4,)))
    x = ops.silu(ops.conv(images, kernel, padding="same", data_format="channels_last"))
    return ops.sum(ops.tanh(ops.mean(x, axis=(1, 2))) * weights, axis=-1)


# Keras computes convolutions in float32 on PyTorch, and JAX everything, unless a process asks early
@pytest.mark.parametrize(("dtype", "step", "tolerance"), [("float32", 1e-2, 2e-3), ("float64", 1e-5, 1e-8)])
def test_gradients_equal_finite_differences(dtype, step, tolerance):
    if dtype == "float64" and keras.backend.backend() != "tensorflow":
        pytest.skip("float32 here")
    images = np.random.default_rng(1).normal(size=(3, 6, 5, 2))

    def numbers(images):
        return ops.convert_to_numpy(function(ops.convert_to_tensor(images, dtype)))

    values, slopes = map(ops.convert_to_numpy, gradients(function, ops.convert_to_tensor(images, dtype)))
    np.testing.assert_allclose(values, numbers(images), rtol=1e-5)
    assert slopes.shape == images.shape and slopes.dtype == dtype
    for place in np.ndindex(images.shape):
        moved = np.zeros_like(images)
        moved[place] = step
        expected = (numbers(images + moved) - numbers(images - moved))[place[0]] / (2 * step)
        assert slopes[place] == pytest.approx(expected, abs=tolerance)


def test_what_a_function_does_not_depend_on_has_gradients_of_zero_and_a_scale_leaves_none_behind():
    images = np.ones((2, 3), np.float32)
    _, slopes = gradients(lambda x: ops.ones((2,)), images)
    assert not ops.convert_to_numpy(slopes).any()
    _, plain = gradients(lambda x: ops.sum(x**2, axis=1), images)
    _, scaled = gradients(lambda x: ops.sum(x**2, axis=1), images, scale=128.0)
    np.testing.assert_array_equal(ops.convert_to_numpy(plain), ops.convert_to_numpy(scaled))


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_other_backends_too(backend):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("started by the TensorFlow run")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (jax is in the test extra; torch is not, for its size)")
    words = ["-q", "-p", "no:cacheprovider", "-n", "0", "-k", "finite_differences or depend", __file__]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout[-3000:].decode()
