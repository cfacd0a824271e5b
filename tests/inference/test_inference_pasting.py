"""Pasting: the pixels of a mask on a grid, against a slow version pixel by pixel."""

import numpy as np
import pytest

from visiontasks.inference.pasting import pasted


def value_at(mask, box, x, y):
    """The mask's value at a point, interpolated between the cells' centers, cells beyond the border being 0."""
    cells = len(mask)
    u = (x - box[0]) / (box[2] - box[0]) * cells - 0.5
    v = (y - box[1]) / (box[3] - box[1]) * cells - 0.5
    padded = np.pad(mask, 1)
    i, j = int(np.floor(v)), int(np.floor(u))
    if not (-1 <= i < cells and -1 <= j < cells):
        return 0.0
    share_v, share_u = v - i, u - j
    four = padded[i + 1 : i + 3, j + 1 : j + 3]
    return float(np.array([1 - share_v, share_v]) @ four @ np.array([1 - share_u, share_u]))


@pytest.mark.parametrize("seed", range(4))
def test_a_pixel_has_the_value_at_its_center(seed):
    rng, (height, width) = np.random.default_rng(seed), (40, 50)
    masks = rng.random((6, 7, 7)).astype(np.float32)
    corners = rng.uniform(-10, 35, (6, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.6, 30, (6, 2))], axis=1).astype(np.float32)
    found = np.asarray(pasted(masks, boxes, (height, width)))
    assert found.shape == (6, height, width) and found.any(axis=(1, 2)).sum() >= 3
    for mask, box, ours in zip(masks, boxes, found, strict=True):
        x1, y1, x2, y2 = np.concatenate([np.floor(box[:2]), np.ceil(box[2:])])
        for y, x in np.ndindex(height, width):
            inside = x1 <= x < x2 and y1 <= y < y2
            value = value_at(mask, box, x + 0.5, y + 0.5) if inside else 0.0
            assert abs(value - 0.5) < 1e-4 or ours[y, x] == (value >= 0.5)


def test_a_grid_on_whole_pixels_is_copied():
    mask = (np.random.default_rng(0).random((1, 8, 8)) > 0.5).astype(np.float32)
    found = np.asarray(pasted(mask, np.float32([[3, 5, 11, 13]]), (20, 20)))[0]
    np.testing.assert_array_equal(found[5:13, 3:11], mask[0])
    assert found.sum() == mask.sum()


def test_an_object_outside_of_its_image_has_no_pixels():
    masks = pasted(np.ones((2, 4, 4)), np.float32([[-9, 2, -3, 8], [30, 30, 31, 31]]), (20, 20))
    assert masks.empty.all() and masks.areas().tolist() == [0, 0]
    assert len(pasted(np.zeros((0, 4, 4)), np.zeros((0, 4)), (20, 20))) == 0
