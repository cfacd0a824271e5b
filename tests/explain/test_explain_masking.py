"""RISE finds what a score is made of."""

import numpy as np
import pytest

from visiontasks.explain.masking import random_masks, rise_of


class Brightness:
    """As an Explained, but the score is the mean of a region."""

    def __init__(self):
        self.images = np.full((1, 28, 35, 3), 255, np.uint8)

    def scores(self, images, row, batch):
        return np.asarray(images, np.float32)[:, 4:12, 20:30].mean(axis=(1, 2, 3)) + 1000


def test_rise_is_highest_where_the_score_comes_from():
    found = rise_of(Brightness(), masks=600)[0]
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert found.shape == (28, 35) and 4 <= y < 12 and 20 <= x < 30
    assert found[4:12, 20:30].mean() > 5 * abs(found[16:, :16].mean())  # 1000, which says nothing, is taken out


def test_masks_show_the_share_that_is_asked_for_and_are_shifted():
    masks = random_masks(400, (30, 41), 7, 0.3, np.random.default_rng(0))
    assert masks.shape == (400, 30, 41) and masks.min() >= 0 and masks.max() <= 1
    np.testing.assert_allclose(masks.mean(axis=0), 0.3, atol=0.12)
    assert masks.mean() == pytest.approx(0.3, abs=0.02)
