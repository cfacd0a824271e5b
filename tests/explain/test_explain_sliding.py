"""Occlusion equals a slow loop."""

import numpy as np
import pytest
from explain.models import classifier

from visiontasks import explain
from visiontasks.explain.scoring import Explained
from visiontasks.explain.sliding import starts


def test_occlusion_equals_a_slow_loop():
    model, images = classifier()
    one, size, stride = Explained(model, images, "ring"), 12, 7
    expected, count = np.zeros((2, 32, 32)), np.zeros((32, 32))
    for top in (0, 7, 14, 20):
        for left in (0, 7, 14, 20):
            hidden = images.copy()
            hidden[:, top : top + size, left : left + size] = 114
            expected[:, top : top + size, left : left + size] += (one.scores() - one.scores(hidden))[:, None, None]
            count[top : top + size, left : left + size] += 1
    found = explain.occlusion(model, images, "ring", size=size, stride=stride, batch=5)
    np.testing.assert_allclose(found, expected / count, atol=1e-5)


@pytest.mark.parametrize(("length", "size", "stride"), [(32, 12, 7), (32, 32, 5), (10, 3, 3), (9, 3, None), (5, 1, 1)])
def test_squares_hide_every_pixel(length, size, stride):
    hidden = np.zeros(length, int)
    for start in starts(length, size, stride):
        assert 0 <= start <= length - size
        hidden[start : start + size] += 1
    assert hidden.all()
