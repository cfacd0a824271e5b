"""Class colors: always the same, and told apart."""

import cv2
import numpy as np
import pytest

from visiontasks.drawing import colors


def lab(values, matrix=None):
    """CIE L*a*b*, by the sRGB standard's own curve, of colors as an eye with this matrix sees them."""
    c = np.asarray(values) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    if matrix is not None:
        linear = np.clip(linear @ np.transpose(matrix), 0, 1)
    c = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(c[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]


@pytest.mark.parametrize("eye", [None, colors.PROTANOPIA, colors.DEUTERANOPIA])
def test_two_dozen_classes_are_told_apart_by_every_eye(eye):
    points = lab([*(colors.color(i) for i in range(24)), colors.GRAY], eye)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(25, 1)]
    assert distances.min() > 10  # 2.3 is the least difference that an eye sees


def test_colors_never_change():
    """Drawings of two runs are compared side by side."""
    assert [colors.color(i) for i in (0, 1, 6)] == [(230, 159, 0), (86, 180, 233), (204, 121, 167)]
    assert len({colors.color(i) for i in range(300)}) == 300
    assert all(0 <= part <= 255 for i in (7, 299, 5000) for part in colors.color(i))


def test_shades_of_gray_stay_gray_to_every_eye():
    """Each row of the published matrices sums to 1: what has no color gets none."""
    for eye in (colors.PROTANOPIA, colors.DEUTERANOPIA):
        assert np.sum(eye, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
