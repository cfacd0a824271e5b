"""Expected OKS against a slow NumPy version, and by hand."""

import numpy as np
import pytest
from keras import ops

from visiontasks.ops.expected_oks import expected_oks

SIGMAS, STRIDE, RADIUS = (0.05, 0.1), 8, 20.0


def slow(heat, short, keypoints):
    """One cell, one person and one keypoint at a time; the heat at the keypoint by bilinear interpolation."""
    batch, rows, columns, kinds = heat.shape
    found = np.zeros(keypoints.shape[:3])
    for image in range(batch):
        for person, points in enumerate(keypoints[image]):
            width, height = np.maximum(np.ptp(points[:, :2], axis=0), 1)
            for kind in range(kinds):
                x, y = points[kind, :2]
                total = similar = 0.0
                for row in range(rows):
                    for column in range(columns):
                        dx, dy = short[image, row, column, kind]
                        square = ((column + 0.5) * STRIDE + dx - x) ** 2 + ((row + 0.5) * STRIDE + dy - y) ** 2
                        if square <= RADIUS**2:
                            weight = heat[image, row, column, kind]
                            total += weight
                            similar += weight * np.exp(-square / (8 * width * height * SIGMAS[kind] ** 2))
                if not total:
                    continue
                u, v = np.clip(x / STRIDE - 0.5, 0, columns - 1), np.clip(y / STRIDE - 0.5, 0, rows - 1)
                left, top = min(int(u), columns - 2), min(int(v), rows - 2)
                four = heat[image, top : top + 2, left : left + 2, kind]
                across = four @ [1 - (u - left), u - left]
                found[image, person, kind] = similar / total * (across @ [1 - (v - top), v - top])
    return found


def test_equals_the_slow_version():
    rng = np.random.default_rng(0)
    heat = rng.random((2, 5, 6, 2)).astype("float32")
    short = rng.normal(0, 9, (2, 5, 6, 2, 2)).astype("float32")
    keypoints = rng.uniform(4, 36, (2, 3, 2, 3)).astype("float32")
    found = expected_oks(heat, short, keypoints, SIGMAS, stride=STRIDE, radius=RADIUS)
    np.testing.assert_allclose(ops.convert_to_numpy(found), slow(heat, short, keypoints), atol=1e-5)


@pytest.mark.other_values
def test_a_sure_keypoint_has_its_heat_and_a_far_one_nothing():
    point = np.float32([20, 12])
    rows, columns = np.mgrid[:5, :6]
    cells = (np.stack([columns, rows], axis=-1) + 0.5) * STRIDE
    short = np.repeat(np.float32(point - cells)[None, :, :, None], 2, axis=3)  # every cell leads to it
    heat = np.full((1, 5, 6, 2), 0.7, np.float32)
    keypoints = np.float32([[[[20, 12, 0], [20, 12, 0]], [[40, 36, 0], [20, 12, 0]]]])
    found = ops.convert_to_numpy(expected_oks(heat, short, keypoints, SIGMAS, stride=STRIDE, radius=RADIUS))
    assert found[0, 0].tolist() == pytest.approx([0.7, 0.7])
    assert found[0, 1, 0] == 0 and found[0, 1, 1] == pytest.approx(0.7)
