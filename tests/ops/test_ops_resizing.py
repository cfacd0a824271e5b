import numpy as np
import pytest
from keras import ops

from visiontasks.ops.resizing import fit_to


@pytest.mark.parametrize(("length", "factor"), [(8, 2), (7, 2), (18, 4), (17, 4), (36, 8), (33, 8)])
def test_a_cell_of_a_rounded_up_level_stays_over_its_pixels(length, factor):
    cells = -(-length // factor)
    centers = np.float32((np.arange(cells) + 0.5) * factor)  # in cells of the finer level
    x = np.broadcast_to(centers[:, None], (cells, cells))[None, ..., None]
    enlarged = ops.convert_to_numpy(fit_to(ops.convert_to_tensor(x), (length, length), factor))
    inside = slice(factor // 2, cells * factor - factor // 2)  # nothing to interpolate between outside
    expected = np.broadcast_to((np.arange(length) + 0.5)[:, None], (length, length))
    np.testing.assert_allclose(enlarged[0, inside, :, 0], expected[inside], atol=1e-5)


def test_what_is_enlarged_already_is_cut_alone():
    x = np.arange(20 * 20, dtype="float32").reshape(1, 20, 20, 1)
    cut = ops.convert_to_numpy(fit_to(ops.convert_to_tensor(x), (18, 17), 4, done=4))
    np.testing.assert_array_equal(cut, x[:, :18, :17])
