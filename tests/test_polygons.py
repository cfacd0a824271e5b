"""Polygons filled on grids, beside matplotlib's test of points."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path

from visiontasks.polygons import filled, moved


def drawn(rng, size):
    """A polygon without crossing edges, which may reach over the grid."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
    radii = rng.uniform(0.1, 1, (len(angles), 1)) * max(size)
    return np.column_stack([np.cos(angles), np.sin(angles)]) * radii + rng.uniform(0, 1, 2) * size[::-1]


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_a_pixel_is_filled_if_its_center_lies_inside(seed):
    rng = np.random.default_rng(seed)
    sizes = [tuple(rng.integers(1, 20, 2).tolist()) for _ in range(5)]
    polygons = [drawn(rng, size) for size in sizes]
    for polygon, size, pixels in zip(polygons, sizes, filled(polygons, sizes), strict=True):
        rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
        centers = np.column_stack([columns.ravel(), rows.ravel()])
        inside, near = (Path(np.vstack([polygon, polygon[:1]]), closed=True) for _ in range(2))
        expected = inside.contains_points(centers).reshape(size)
        ends = np.roll(polygon, -1, axis=0) - polygon
        t = np.clip(((centers[:, None] - polygon) * ends).sum(-1) / (ends**2).sum(-1), 0, 1)
        clear = np.linalg.norm(polygon + t[..., None] * ends - centers[:, None], axis=-1).min(axis=1) > 1e-6
        clear = clear.reshape(size)  # on the edge itself either is right
        assert pixels.shape == size and pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels[clear], expected[clear])


def test_what_is_enclosed_twice_is_outside_and_nothing_is_lost_at_the_corners():
    star = np.array([[5, 0], [8, 10], [0, 4], [10, 4], [2, 10]], float)
    (pixels,) = filled([star], [(10, 10)])
    assert pixels[5, 5] == 0 and pixels[2, 5] == 1
    square = np.array([[0.5, 0.5], [3.5, 0.5], [3.5, 2.5], [0.5, 2.5]])  # through centers: each edge has one side
    assert filled([square], [(4, 4)])[0].sum() == 6
    assert filled([], []) == [] and filled([np.zeros((0, 2))], [(2, 3)])[0].tolist() == [[0, 0, 0]] * 2


def test_each_is_cut_by_itself():
    inside, across, away = (np.array([[0, 0], [4, 0], [4, 4]], float) + shift for shift in (2, 8, 50))
    identity = np.eye(2, 3)
    same, cut, gone = moved([inside, across, away], identity, (10, 10), (10, 10))
    np.testing.assert_array_equal(same, inside)
    assert cut.max() == 10 and len(cut) > 2 and len(gone) == 0
    assert moved([], identity, (10, 10), (10, 10)) == []
    back = moved([cut, gone], np.array([[1, 0, -5], [0, 1, 0.0]]), (10, 10), (20, 20))
    np.testing.assert_array_equal(back[0], cut - [5, 0])
    assert len(back[1]) == 0
