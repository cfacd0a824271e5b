"""Mask targets: against areas counted cell by cell."""

import numpy as np
from keras import ops

from visiontasks.ops.masks import cells_in, mask_targets


def share(low, high, start, end):
    return max(0.0, min(high, end) - max(low, start))


def slowly(crop, box, region, size):
    """The covered share of each cell of a region, from the rectangle that each cell of the crop is."""
    x1, y1, x2, y2 = region
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    wide, tall = (x2 - x1) / size, (y2 - y1) / size
    step_x, step_y = (box[2] - box[0]) / len(crop), (box[3] - box[1]) / len(crop)
    target = np.zeros((size, size))
    for row, column in np.ndindex(size, size):
        for i, j in zip(*np.nonzero(crop == 1), strict=True):
            down = share(y1 + row * tall, y1 + (row + 1) * tall, box[1] + i * step_y, box[1] + (i + 1) * step_y)
            across = share(x1 + column * wide, x1 + (column + 1) * wide, box[0] + j * step_x, box[0] + (j + 1) * step_x)
            target[row, column] += down * across / (wide * tall)
    return target


def test_a_target_is_the_covered_share_of_each_cell():
    rng = np.random.default_rng(0)
    crops = (rng.random((2, 4, 9, 9)) > 0.5).astype(np.uint8)
    corners = rng.uniform(0, 50, (2, 4, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 60, (2, 4, 2))], axis=-1).astype(np.float32)
    regions = boxes + rng.uniform(-6, 6, boxes.shape).astype(np.float32)
    regions[0, 0] = boxes[0, 0]  # itself: the crop, averaged
    regions[0, 1] = [400, 400, 420, 410]  # outside
    regions[0, 2, 2:] = regions[0, 2, :2] + 0.2  # thinner than a pixel
    found = ops.convert_to_numpy(mask_targets(crops, boxes, regions, 5))
    assert found.shape == (2, 4, 5, 5) and not found[0, 1].any()
    for image, number in np.ndindex(2, 4):
        expected = slowly(crops[image, number], boxes[image, number], regions[image, number], 5)
        np.testing.assert_allclose(found[image, number], expected, atol=1e-4)
    same = ops.convert_to_numpy(mask_targets(crops, boxes, boxes, 9))
    np.testing.assert_allclose(same, crops, atol=1e-4)


def test_padding_without_extent_gives_numbers():
    found = mask_targets(np.full((1, 2, 4, 4), 255, np.uint8), np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 4)), 3)
    assert np.isfinite(ops.convert_to_numpy(found)).all()


def test_the_cells_in_boxes_are_those_whose_centers_lie_in_one():
    boxes = np.float32([[[0, 0, 12, 7.9], [20, 4, 30, 30], [2, 2, 60, 60]]])
    found = ops.convert_to_numpy(cells_in(boxes, np.array([[True, True, False]]), (4, 5), 8))
    expected = np.zeros((4, 5), bool)
    for x1, y1, x2, y2 in boxes[0, :2]:
        for row in range(4):
            for column in range(5):
                x, y = 8 * column + 4, 8 * row + 4
                expected[row, column] |= x1 <= x <= x2 and y1 <= y <= y2
    np.testing.assert_array_equal(found[0], expected)
