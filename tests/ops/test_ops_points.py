"""Points of maps and masks, beside a slow bilinear rule; what is chosen and what is written back."""

import numpy as np
from keras import ops

from visiontasks.ops import points


def slow(grid, x, y):
    """The value of (H, W, C) at a position in cells."""
    height, width = grid.shape[:2]
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    above = grid[top, left] * (1 - (x - left)) + grid[top, right] * (x - left)
    below = grid[bottom, left] * (1 - (x - left)) + grid[bottom, right] * (x - left)
    return above * (1 - (y - top)) + below * (y - top)


def test_values_between_cells_and_at_the_border():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 5, 7, 3)).astype("float32")
    images = np.int32([1, 0, 1])
    positions = rng.uniform(-1, 8, (3, 20, 2)).astype("float32")
    found = ops.convert_to_numpy(points.at_points(features, positions, images))
    grids = rng.normal(size=(3, 6, 6)).astype("float32")
    cells = ops.convert_to_numpy(points.at_cells(grids, positions))
    outside = ops.convert_to_numpy(points.at_cells(grids, positions, border=False))
    for row, image in enumerate(images):
        for number, (x, y) in enumerate(positions[row]):
            np.testing.assert_allclose(found[row, number], slow(features[image], x, y), atol=1e-5)
            expected = slow(grids[row][..., None], x, y)[0]
            np.testing.assert_allclose(cells[row, number], expected, atol=1e-5)
            inside = 0 <= x <= 6 and 0 <= y <= 6
            np.testing.assert_allclose(outside[row, number], expected if inside else 0, atol=1e-5)


def test_most_points_lie_where_a_mask_is_unsure():
    logits = (3.5 - np.arange(8)) * np.ones((2, 8, 1))  # it changes in the middle
    keys = np.random.default_rng(1).random((2, points.OVERSAMPLED * 40, 2)).astype("float32")
    chosen = ops.convert_to_numpy(points.to_learn(logits.astype("float32"), keys, 40))
    assert chosen.shape == (2, 40, 2)
    for given, found in zip(keys, chosen, strict=True):
        nearest = np.sort(np.abs(given[:, 0] - 0.5))[:30]
        np.testing.assert_allclose(np.sort(np.abs(found[:30, 0] - 0.5)), nearest, atol=1e-6)
    np.testing.assert_array_equal(chosen[:, 30:], keys[:, -10:])


def test_what_is_written_back_replaces_the_least_certain_cells_alone():
    logits = np.random.default_rng(2).normal(size=(3, 6, 6)).astype("float32")
    cells, centers = points.least_certain(logits, 7)
    found = ops.convert_to_numpy(points.with_values(logits, cells, np.full((3, 7), 100, "float32")))
    for before, after, numbers, places in zip(logits, found, *map(ops.convert_to_numpy, (cells, centers)), strict=True):
        changed = np.flatnonzero(after != before)
        assert sorted(numbers) == changed.tolist() == np.sort(np.argsort(np.abs(before).ravel())[:7]).tolist()
        np.testing.assert_allclose(places, np.stack([numbers % 6 + 0.5, numbers // 6 + 0.5], axis=1) / 6, rtol=1e-6)
