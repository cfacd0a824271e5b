"""Default boxes by hand and by the paper's number."""

import numpy as np
import pytest

from visiontasks.ops import anchors

SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
GRIDS = [(n, n) for n in (38, 19, 10, 5, 3, 1)]


def test_ssd300_has_8732():
    assert anchors.default_boxes(GRIDS, (300, 300), SCALES, RATIOS).shape == (8732, 4)
    assert sum(n * n * k for (n, _), k in zip(GRIDS, anchors.number_of_default_boxes(RATIOS), strict=True)) == 8732


def test_order_centers_and_shapes_by_hand():
    boxes = anchors.default_boxes([(1, 2)], (100, 200), (0.2, 0.8), [(4,)])
    centers, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(centers, [[50, 50]] * 4 + [[150, 50]] * 4)
    # squares of the scale and of the middle of two, then 4 to 1 and upright: shares of the width and of the height
    np.testing.assert_allclose(sides[:4] / (200, 100), [(0.2, 0.2), (0.4, 0.4), (0.4, 0.1), (0.1, 0.4)], rtol=1e-6)


def test_steps_and_the_longest_side():
    boxes = anchors.default_boxes([(2, 2)], (10, 10), (0.9, 1.5), [()], steps=[8])
    np.testing.assert_allclose((boxes[::2, :2] + boxes[::2, 2:]) / 2, [[4, 4], [12, 4], [4, 12], [12, 12]])
    np.testing.assert_allclose((boxes[:, 2:] - boxes[:, :2])[1], [10, 10])


def test_levels_of_another_number_are_an_error():
    with pytest.raises(ValueError, match="expected 3, 2 and 2 for 2 levels; got 2, 2 and none"):
        anchors.default_boxes([(1, 1), (1, 1)], (10, 10), (0.1, 0.2), [(), ()])


def test_anchor_points_by_hand():
    """A row of three cells 10 by 20 pixels, then one over all: x and y."""
    points, strides = anchors.anchor_points([(1, 3), (1, 1)], (20, 30))
    np.testing.assert_array_equal(points, [[5, 10], [15, 10], [25, 10], [15, 10]])
    np.testing.assert_array_equal(strides, [[10, 20]] * 3 + [[30, 20]])
    assert points.dtype == strides.dtype == np.float32


def test_anchor_points_of_a_side_that_no_stride_divides_cover_it():
    points, strides = anchors.anchor_points([(38, 38)], (300, 300))
    np.testing.assert_allclose(points[0], strides[0] / 2)
    np.testing.assert_allclose(points[-1] + strides[-1] / 2, [300, 300], rtol=1e-6)
