import keras
import numpy as np
import pytest

from visiontasks.layers.local_response_normalization import LocalResponseNormalization


def slow(x, size, alpha, beta, bias):
    """Krizhevsky et al. 2012, section 3.3, a number at a time; alpha divided by the size as Caffe does."""
    out, channels = np.zeros_like(x), x.shape[-1]
    for i in range(channels):
        around = range(max(0, i - size // 2), min(channels - 1, i + size // 2) + 1)
        total = sum(x[..., j] ** 2 for j in around)
        out[..., i] = x[..., i] / (bias + alpha / size * total) ** beta
    return out


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_equals_the_formula(channels, size):
    x = np.random.default_rng(0).normal(0, 30, (2, 3, 4, channels))
    layer = LocalResponseNormalization(size, alpha=0.02, beta=0.75, bias=2.0)
    got = keras.ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(got, slow(x, size, 0.02, 0.75, 2.0), rtol=1e-5)


def test_squares_do_not_overflow_in_float16():
    layer = LocalResponseNormalization(dtype="mixed_float16")
    got = keras.ops.convert_to_numpy(layer(np.full((1, 1, 1, 5), 3000.0, "float16")))
    assert got.dtype == np.float16 and np.isfinite(got).all()


def test_an_even_size_has_no_middle():
    with pytest.raises(ValueError, match="size: expected an odd number"):
        LocalResponseNormalization(4)
