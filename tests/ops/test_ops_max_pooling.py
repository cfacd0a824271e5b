"""Positions of maxima and unpooling against loops over windows."""

import numpy as np
import pytest
from keras import ops

from visiontasks.ops.max_pooling import max_positions, max_unpool

SIZES = [((6, 8), 2), ((7, 5), 2), ((9, 10), 3), ((5, 4), 4), ((4, 4), 1)]


def slow(x, size):
    """(maxima, positions, the maxima put back), by a loop over windows."""
    count, height, width, channels = x.shape
    rows, columns = -(-height // size), -(-width // size)
    maxima = np.zeros((count, rows, columns, channels), x.dtype)
    positions, back = np.zeros(maxima.shape, int), np.zeros_like(x)
    for b, i, j, c in np.ndindex(maxima.shape):
        window = x[b, i * size : (i + 1) * size, j * size : (j + 1) * size, c]
        row, column = np.unravel_index(window.argmax(), window.shape)
        maxima[b, i, j, c], positions[b, i, j, c] = window.max(), row * size + column
        back[b, i * size + row, j * size + column, c] = window.max()
    return maxima, positions, back


@pytest.mark.parametrize(("shape", "size"), SIZES)
@pytest.mark.parametrize("ties", [False, True])
def test_each_maximum_is_found_and_put_back(shape, size, ties):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape, 3)).astype("float32")
    x = np.round(x) if ties else x  # of equal values the first
    maxima, positions, back = slow(x, size)
    found = ops.convert_to_numpy(max_positions(x, size))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, positions)
    spread = ops.convert_to_numpy(max_unpool(ops.convert_to_tensor(maxima), found, size))
    assert spread.shape == (2, maxima.shape[1] * size, maxima.shape[2] * size, 3)
    np.testing.assert_array_equal(spread[:, : shape[0], : shape[1]], back)
    assert not spread[:, shape[0] :].any() and not spread[:, :, shape[1] :].any()


def test_a_window_of_one_value_keeps_its_first_position_in_half_precision():
    x = ops.cast(np.zeros((1, 4, 4, 2), "float32"), "bfloat16")
    assert not ops.convert_to_numpy(max_positions(x, 2)).any()
