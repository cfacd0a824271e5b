"""Masks out of maps that say to whom each cell belongs."""

import numpy as np
import pytest

from visiontasks.geometry import Placement
from visiontasks.inference.cell_masks import masks_of_cells

STRIDE, CELLS = 8, (12, 16)
SIZE = (96, 128)


def cells_of(inside):
    """(owners, segmentation) of one object that covers these cells, bool (h, w)."""
    return np.where(inside, 0, -1), inside.astype(np.float32)


def box(top, left, bottom, right):
    inside = np.zeros(CELLS, bool)
    inside[top:bottom, left:right] = True
    return inside


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_a_block_of_cells_is_a_block_of_pixels():
    found = masks_of_cells(*cells_of(box(3, 4, 9, 12)), [0], Placement(SIZE, SIZE))
    expected = np.zeros(SIZE, bool)
    expected[24:72, 32:96] = True
    # between two cells the border lies where the probability is a half; corners are rounded
    assert iou(np.asarray(found)[0].astype(bool), expected) > 0.97


def test_at_the_canvas_s_border_the_last_cells_go_on():
    mask = np.asarray(masks_of_cells(*cells_of(box(0, 0, 12, 5)), [0], Placement(SIZE, SIZE)))[0]
    assert mask[0, 0] and mask[-1, 0] and mask[:, :36].all() and not mask[:, 44:].any()


@pytest.mark.parametrize("placement", [Placement((192, 256), SIZE), Placement((60, 120), SIZE, "letterbox")])
def test_masks_come_back_in_the_image_s_pixels(placement):
    inside = box(4, 3, 8, 13)
    mask = np.asarray(masks_of_cells(*cells_of(inside), [0], placement))[0].astype(bool)
    assert mask.shape == placement.original
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    (scale_y, scale_x), (top, left) = placement.scale, placement.offset
    y, x = rows * scale_y + top, columns * scale_x + left
    expected = (y > 32) & (y < 64) & (x > 24) & (x < 104)
    assert iou(mask, expected) > 0.93


def test_neighbors_share_no_pixel_and_one_without_cells_has_none():
    owners, segmentation = np.full(CELLS, -1), np.ones(CELLS, np.float32)
    owners[:, :8], owners[:, 8:] = 2, 0
    masks = np.asarray(masks_of_cells(owners, segmentation, [0, 1, 2], Placement(SIZE, SIZE))).astype(bool)
    assert not masks[1].any() and not (masks[0] & masks[2]).any()
    assert masks[0][:, 66:].all() and masks[2][:, :62].all()


def test_cells_that_are_hardly_an_object_are_left_out():
    owners, segmentation = cells_of(box(2, 2, 10, 12))
    segmentation[6:] *= 0.3
    mask = np.asarray(masks_of_cells(owners, segmentation, [0], Placement(SIZE, SIZE)))[0]
    assert mask[20:44, 24:88].all() and not mask[52:].any()
