"""Masks: tints lie to the pixel, and keep apart on any image."""

import numpy as np
import pytest

from visiontasks.drawing.colors import GRAY, color
from visiontasks.drawing.masks import tinted
from visiontasks.drawing.panels import fitted
from visiontasks.sample import VOID


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(32, 32), (200, 300), (640, 480)])
def test_tint_lies_exactly_on_the_mask(size):
    """An untinted class keeps every pixel; every other pixel is greyed and moved toward its class's color."""
    image, mask = noise(*size), np.zeros(size, np.int32)
    mask[5:20, 3:28], mask[22:30, 10:17], mask[:3] = 1, 2, VOID
    drawn, image, mask = tinted(image, mask, {0}), fitted(image), fitted(mask)
    assert (drawn[mask == 0] == image[mask == 0]).all()
    white = (drawn == 255).all(axis=-1)
    gray = (image @ (0.299, 0.587, 0.114))[..., None]  # luma, ITU-R BT.601
    for number in (1, 2, VOID):
        rows = mask == number
        target = np.array(GRAY if number == VOID else color(number))
        expected = 0.55 * (0.75 * image + 0.25 * gray) + 0.45 * target
        near = (np.abs(drawn - expected) <= 2).all(axis=-1) | (number == VOID) & (drawn == GRAY).all(axis=-1)
        assert (near | white)[rows].all() and near[rows].mean() > 0.5


@pytest.mark.parametrize("value", [0, 255])
def test_a_white_line_is_between_any_two_classes(value):
    """One pixel wide, and none in what is not tinted."""
    mask = np.zeros((256, 300), np.int32)
    mask[:, 100:], mask[:, 200:] = 2, 1
    drawn = tinted(np.full((256, 300, 3), value, np.uint8), mask, {0})
    white = (drawn == 255).all(axis=-1)
    assert white[:, 100].all() and not white[:, 101:199].any()  # of 2, beside the untinted
    assert white[:, 200].all() and not white[:, 201:].any()  # of 1, beside 2
    assert (drawn[:, :100] == value).all()


def test_every_class_is_tinted_unless_it_is_named():
    image, mask = np.full((256, 300, 3), 77, np.uint8), np.zeros((256, 300), np.int32)
    mask[:, 150:] = 300
    assert (tinted(image, mask) != 77).any(axis=-1).all()
    drawn = tinted(image, mask, {300})
    assert (drawn[:, 150:] == 77).all() and (drawn[:, :150] != 77).any(axis=-1).all()
