"""Heat maps against slow NumPy, and that reading them is the inverse of drawing them."""

import numpy as np
import pytest
from keras import ops

from visiontasks.ops import heatmaps

ROWS, COLUMNS = 24, 18
MOST = 80  # points read at once


def slow_gaussians(points, labeled, size, sigma):
    batch, count, kinds, _ = points.shape
    maps = np.zeros((batch, *size, kinds))
    for b in range(batch):
        for n in range(count):
            for k in range(kinds):
                if not labeled[b, n, k]:
                    continue
                for row in range(size[0]):
                    for column in range(size[1]):
                        x, y = points[b, n, k]
                        squares = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
                        maps[b, row, column, k] = max(maps[b, row, column, k], np.exp(-squares / (2 * sigma**2)))
    return maps


@pytest.mark.parametrize("people", [1, 2, 5])
@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_gaussians_of_several_people_are_the_largest(people, sigma):
    rng = np.random.default_rng(people)
    points = rng.uniform(-2, 26, (2, people, 3, 2)).astype(np.float32)
    labeled = rng.random((2, people, 3)) < 0.7
    got = ops.convert_to_numpy(heatmaps.gaussians(points, labeled, (ROWS, COLUMNS), sigma))
    np.testing.assert_allclose(got, slow_gaussians(points, labeled, (ROWS, COLUMNS), sigma), atol=1e-5)


def test_nothing_labeled_is_nothing_drawn():
    points = np.full((1, 2, 1, 2), 5, np.float32)
    assert not ops.convert_to_numpy(heatmaps.gaussians(points, np.zeros((1, 2, 1), bool), (8, 8), 2.0)).any()


def test_a_mirrored_image_has_the_mirrored_map():
    points = np.random.default_rng(0).uniform(0, 16, (1, 2, 3, 2)).astype(np.float32)
    labeled = np.ones((1, 2, 3), bool)
    draw = lambda points: ops.convert_to_numpy(heatmaps.gaussians(points, labeled, (16, 16), 2.0))  # noqa: E731
    mirrored = points * np.float32([-1, 1]) + np.float32([16, 0])
    np.testing.assert_allclose(draw(mirrored), draw(points)[:, :, ::-1], atol=1e-5)


def read(points, size, sigma, **options):
    filled = np.ones((1, 1, MOST, 2), np.float32)  # of one shape, which JAX compiles once
    filled[0, 0, : len(points)] = points
    maps = heatmaps.gaussians(filled, np.ones(filled.shape[:3], bool), size, sigma)
    return ops.convert_to_numpy(heatmaps.peaks(maps, sigma=sigma, **options))[0, : len(points)]


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
@pytest.mark.other_values
def test_dark_is_the_inverse_of_drawing_also_near_the_border(sigma):
    rng = np.random.default_rng(3)
    size = np.float32([COLUMNS, ROWS])
    edges = [[0, 0], [COLUMNS, ROWS], [0.01, 12.3], [17.97, 0.6], [9.4, 23.9], [3.5, 3.5], [6.0, 6.0], [1.4, 22.2]]
    points = np.concatenate([rng.uniform(0, 1, (60, 2)) * size, edges])
    found = read(points, (ROWS, COLUMNS), sigma)
    np.testing.assert_allclose(found[:, :2], points, atol=0.01)
    assert (found[:, 2] <= 1).all() and (found[:, 2] > np.exp(-0.26 / sigma**2)).all()


def test_a_point_outside_of_the_map_is_read_near_its_edge():
    found = read([[-1.2, 8], [COLUMNS + 0.9, 5]], (ROWS, COLUMNS), 2.0)[:, :2]
    assert (np.abs(found - [[0, 8], [COLUMNS, 5]]) <= 1.5).all()


def slow_peaks(maps, rule):
    batch, rows, columns, kinds = maps.shape
    found = np.zeros((batch, kinds, 3))
    for b in range(batch):
        for k in range(kinds):
            one = maps[b, :, :, k]
            row, column = divmod(int(one.argmax()), columns)
            x, y = column + 0.5, row + 0.5
            if rule == "quarter":
                row, column = np.clip(row, 1, rows - 2), np.clip(column, 1, columns - 2)
                x = column + 0.5 + 0.25 * np.sign(one[row, column + 1] - one[row, column - 1])
                y = row + 0.5 + 0.25 * np.sign(one[row + 1, column] - one[row - 1, column])
            found[b, k] = x, y, one.max()
    return found


@pytest.mark.parametrize("rule", ["quarter", "none"])
@pytest.mark.parametrize("size", [(7, 9), (3, 3)])
@pytest.mark.other_values
def test_simpler_rules(rule, size):
    maps = np.random.default_rng(1).normal(size=(4, *size, 5)).astype(np.float32)
    got = ops.convert_to_numpy(heatmaps.peaks(maps, rule))
    np.testing.assert_allclose(got, slow_peaks(maps, rule), atol=1e-6)


def test_on_gaussians_each_rule_is_better_than_the_one_before():
    points = np.random.default_rng(5).uniform(4, 14, (MOST, 2)).astype(np.float32)
    errors = {
        rule: np.abs(read(points, (ROWS, COLUMNS), 2.0, refinement=rule)[:, :2] - points).mean()
        for rule in ("none", "quarter", "dark")
    }
    assert errors["none"] > 1.5 * errors["quarter"] > 15 * errors["dark"]


@pytest.mark.parametrize("rule", ["dark", "quarter", "none"])
def test_maps_without_a_peak_give_numbers(rule):
    flat = np.zeros((1, 6, 6, 2), np.float32)
    flat[..., 1] = -3
    found = ops.convert_to_numpy(heatmaps.peaks(flat, rule))
    assert np.isfinite(found).all() and found[0, :, 2].tolist() == [0, -3]
    tiny = ops.convert_to_numpy(heatmaps.peaks(np.ones((1, 2, 1, 1), np.float32), rule))
    assert tiny.tolist() == [[[0.5, 0.5, 1]]]


def slow_doubled(one):
    """Bilinear by cell centers, with the border repeated."""
    rows, columns = one.shape
    result = np.zeros((2 * rows, 2 * columns))
    for row in range(2 * rows):
        for column in range(2 * columns):
            y, x = (row + 0.5) / 2 - 0.5, (column + 0.5) / 2 - 0.5
            top, left = int(np.floor(y)), int(np.floor(x))
            for r, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
                for c, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
                    value = one[np.clip(r, 0, rows - 1), np.clip(c, 0, columns - 1)]
                    result[row, column] += weight_y * weight_x * value
    return result


@pytest.mark.parametrize("size", [(5, 7), (1, 4), (1, 1)])
def test_doubled_is_bilinear(size):
    import cv2

    maps = np.random.default_rng(2).normal(size=(2, *size, 3)).astype(np.float32)
    got = ops.convert_to_numpy(heatmaps.doubled(ops.convert_to_tensor(maps)))
    expected = np.stack([np.stack([slow_doubled(one[..., k]) for k in range(3)], axis=-1) for one in maps])
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(got[0], cv2.resize(maps[0], None, fx=2, fy=2).reshape(got[0].shape), atol=1e-5)


def slow_cells(point, box, size):
    (x, y), (x1, y1, x2, y2) = point, box
    if x2 <= x1 or y2 <= y1:
        return 0, False
    column = size - 1 if x == x2 else int(np.floor((x - x1) * size / (x2 - x1)))
    row = size - 1 if y == y2 else int(np.floor((y - y1) * size / (y2 - y1)))
    inside = 0 <= column < size and 0 <= row < size
    return (row * size + column if inside else 0), inside


def test_cells_in_boxes():
    # sixteenths and boxes of a width that is a power of two are exact in float32
    rng = np.random.default_rng(4)
    low = rng.integers(0, 320, (2, 6, 2)) / 16
    boxes = np.concatenate([low, low + 2.0 ** rng.integers(0, 6, (2, 6, 2))], axis=-1).astype(np.float32)
    points = (rng.integers(-50, 1000, (2, 6, 40, 2)) / 16).astype(np.float32)
    corners = boxes[:, :, [[0, 1], [2, 3], [0, 3], [2, 1]]]
    points = np.concatenate([points, corners], axis=2)
    numbers, inside = map(
        ops.convert_to_numpy, heatmaps.cells_in_boxes(*map(ops.convert_to_tensor, (points, boxes)), 8)
    )
    assert numbers.dtype == np.int32 and inside[:, :, -4:].all()
    assert (numbers[:, :, -4:] == [0, 63, 56, 7]).all()  # the lower right corner lies in the last cell
    for index in np.ndindex(2, 6, 44):
        assert (numbers[index], inside[index]) == slow_cells(points[index], boxes[index[:2]], 8), index


def test_a_box_without_extent_holds_nothing():
    point, box = np.full((1, 1, 1, 2), 3, np.float32), np.full((1, 1, 4), 3, np.float32)
    numbers, inside = heatmaps.cells_in_boxes(*map(ops.convert_to_tensor, (point, box)), 8)
    assert not ops.convert_to_numpy(inside).any() and not ops.convert_to_numpy(numbers).any()
