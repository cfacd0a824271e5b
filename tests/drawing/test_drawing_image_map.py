"""A map's thumbnails lie where their images do, and do not cover each other."""

import numpy as np

from visiontasks.drawing.colors import GRAY, color
from visiontasks.drawing.image_map import MARGIN, SIDE, image_map

RED = np.full((64, 64, 3), (250, 10, 10), np.uint8)


def test_thumbnails_lie_where_their_images_do():
    positions = np.array([[0.0, 0.0], [1.0, 0.5], [0.5, 0.5]])
    drawn = image_map(positions, {0: RED, 1: RED // 2}, np.array([0, -1, -1]), ["cat"])
    last = SIDE - 1 - MARGIN
    assert drawn.shape[1] == SIDE and tuple(drawn[MARGIN, MARGIN]) == (250, 10, 10)
    assert tuple(drawn[MARGIN + (last - MARGIN) // 2, last]) == (125, 5, 5)
    middle = MARGIN + (last - MARGIN) // 2
    assert np.abs(drawn[middle, middle].astype(int) - GRAY).max() <= 1  # a point
    frame = drawn[MARGIN - 32 + 1, MARGIN]
    assert tuple(frame) == color(0)


def test_images_at_one_place_do_not_cover_the_first():
    positions = np.array([[0.5, 0.5], [0.51, 0.5], [0.0, 0.0], [1.0, 1.0]])
    drawn = image_map(positions, {0: RED, 1: RED // 2, 2: RED, 3: RED}, np.full(4, -1))
    center = MARGIN + (SIDE - 1 - 2 * MARGIN) // 2
    assert tuple(drawn[center, center]) == (250, 10, 10) and not (drawn == (125, 5, 5)).all(axis=-1).any()


def test_one_image_alone_is_a_map():
    drawn = image_map(np.full((1, 2), 0.5), {0: RED}, np.array([-1]))
    assert min(drawn.shape[:2]) >= 64 and (drawn == (250, 10, 10)).all(axis=-1).sum() > 3000
