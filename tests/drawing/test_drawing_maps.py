"""Heat maps and fields over images: they lie where their windows are, and show their values."""

import numpy as np
import pytest

from visiontasks.drawing.maps import FAINT, field_drawn, heat_drawn

SIZE = (300, 400)
IMAGE = np.full((*SIZE, 3), 120, np.uint8)
BELOW = round(120 * FAINT)


def lightness(drawn):
    return drawn[: SIZE[0]].astype(int).sum(axis=-1)


@pytest.mark.parametrize("window", [(0, 0, 400, 300), (40, 60, 200, 180), (-80, -60, 240, 180)])
def test_a_peak_lies_where_its_cell_is(window):
    """Also of a window that exceeds the image."""
    left, top, right, bottom = window
    values = np.zeros((12, 16), np.float32)
    values[7, 9] = 1
    row, column = np.unravel_index(lightness(heat_drawn(IMAGE, [values], [window])).argmax(), SIZE)
    x, y = left + (right - left) * 9.5 / 16, top + (bottom - top) * 7.5 / 12
    assert abs(column + 0.5 - x) <= 1 and abs(row + 0.5 - y) <= 1


def test_without_heat_only_the_faint_image_is_seen():
    drawn = heat_drawn(IMAGE, [np.zeros((4, 4), np.float32)], [(100, 100, 200, 200)])
    assert (drawn[: SIZE[0], :400] == BELOW).all()
    assert (heat_drawn(IMAGE, [], [])[: SIZE[0], :400] == BELOW).all()


def test_of_overlapping_maps_the_highest_value_is_seen():
    one, other = np.full((4, 4), 0.3, np.float32), np.full((4, 4), 0.9, np.float32)
    window = (100, 100, 200, 200)
    both = heat_drawn(IMAGE, [one, other], [window, window])
    np.testing.assert_array_equal(both, heat_drawn(IMAGE, [other], [window]))
    np.testing.assert_array_equal(both, heat_drawn(IMAGE, [other, one], [window, window]))


def test_a_field_s_color_is_its_direction_and_its_length_how_much_it_covers():
    field = np.zeros((2, 2, 2), np.float32)
    field[0, 0], field[0, 1], field[1, 0] = (1, 0), (0, 1), (0.5, 0)
    drawn = field_drawn(IMAGE, [field], [(0, 0, 400, 300)])
    right, down, half, none = (drawn[y, x].astype(int) for x, y in ((100, 75), (300, 75), (100, 225), (300, 225)))
    assert np.abs(right - down).max() > 40
    np.testing.assert_allclose(half, (right + BELOW) / 2, atol=3)
    np.testing.assert_allclose(none, BELOW, atol=3)


def test_opposite_fields_cancel():
    field = np.ones((3, 3, 2), np.float32)
    window = (50, 50, 150, 150)
    drawn = field_drawn(IMAGE, [field, -field], [window, window])
    assert (drawn[: SIZE[0], :400] == BELOW).all()


def test_a_peak_in_a_window_of_a_few_pixels_is_seen():
    values = np.zeros((28, 28), np.float32)
    values[13, 5] = 1
    drawn = heat_drawn(np.zeros((1000, 1000, 3), np.uint8), [values], [(500, 500, 508, 516)])
    part = drawn[495:521, 495:513].astype(int).sum(axis=-1)
    assert part.max() > 300 and (drawn[:490, :1000] == 0).all()
    nothing = heat_drawn(np.zeros((300, 300, 3), np.uint8), [values], [(400, 10, 500, 60)])  # beyond the image
    assert (nothing[:300, :300] == 0).all()
