"""Polygons filled on grids, beside matplotlib's test of points."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path
from pycocotools import mask as coco_mask

from visiontasks.instance_masks import InstanceMasks
from visiontasks.mask_shapes import Patch
from visiontasks.polygons import cut_far, filled, moved, outlines
from visiontasks.run_lengths import of_polygons


def drawn(rng, size):
    """A polygon without crossing edges, which may reach over the grid."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
    radii = rng.uniform(0.1, 1, (len(angles), 1)) * max(size)
    return np.column_stack([np.cos(angles), np.sin(angles)]) * radii + rng.uniform(0, 1, 2) * size[::-1]


@given(st.integers(0, 10**6))
@settings(max_examples=50)
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


@given(st.integers(0, 10**6))
@settings(max_examples=50)
def test_within_ten_times_the_image_pixels_are_those_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    height, width = size = tuple(rng.integers(1, 30, 2).tolist())
    polygon = rng.uniform(-10, 10, (rng.integers(3, 9), 2)) * max(size)
    assert cut_far(polygon, size) is polygon
    expected = coco_mask.merge(coco_mask.frPyObjects([polygon.ravel().tolist()], height, width))
    assert of_polygons([polygon], size) == expected


@pytest.mark.parametrize("far", [1e4, 1e9, 1e15, 1e300, np.inf])
def test_a_corner_far_away_is_not_given_to_pycocotools(far):
    size, square = (20, 30), np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    for polygon in (
        square * far,
        np.array([[0, 5], [far, 5], [far, 1e4], [0, 1e4]]),
        np.array([[-far, 5], [30, 5], [9, 25]]),
    ):
        cut = cut_far(np.clip(polygon, -1e300, 1e300), size)
        assert (cut >= 0).all() and (cut <= size[::-1]).all()
    assert coco_mask.area(of_polygons([square * far], size)) == 600
    assert coco_mask.area(of_polygons([np.array([[0, 5], [far, 5], [far, 1e4], [0, 1e4]])], size)) == 450
    assert coco_mask.area(of_polygons([(square + 2) * far], size)) == 0
    assert coco_mask.area(of_polygons([np.array([[0, 0], [9, 0], [np.nan, 9]])], size)) == 0


def test_a_slope_that_ends_far_away_has_its_pixels():
    size = (20, 30)
    expected = coco_mask.frPyObjects([[0, 0, 290, 0, 290, 290]], *size)[0]
    assert of_polygons([np.array([[0, 0], [1e9, 0], [1e9, 1e9]])], size) == expected


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


def blobs(seed):
    """Pixels of several parts with holes."""
    rng = np.random.default_rng(seed)
    return (cv2.GaussianBlur(rng.random((30, 40)), (0, 0), rng.uniform(0.3, 3)) > 0.5).astype(np.uint8)


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_outlines_give_back_the_pixels_to_us_and_to_coco(seed):
    pixels = blobs(seed)
    found = outlines(pixels)
    ours = np.any([*filled(found, [pixels.shape] * len(found)), np.zeros_like(pixels)], axis=0)
    np.testing.assert_array_equal(ours, pixels > 0)
    np.testing.assert_array_equal(coco_mask.decode(of_polygons(found, pixels.shape)), pixels)


def test_outlines_of_objects():
    ring = np.ones((5, 6), np.uint8)
    ring[1:4, 1:5] = 0
    ring[2, 2:4] = 1  # an island in the hole
    square = np.array([[1, 1], [4, 1], [4, 4]], float)
    masks = InstanceMasks([Patch(3, 2, ring), (square,), None, ()], (10, 12))
    found = masks.outlines(0)
    np.testing.assert_array_equal(np.any(filled(found, [(10, 12)] * 2), axis=0), np.asarray(masks)[0])
    box = np.concatenate([np.min([one.min(axis=0) for one in found], 0), np.max([one.max(axis=0) for one in found], 0)])
    assert box.tolist() == [3.25, 2.25, 8.75, 6.75] and len(found) == 2
    np.testing.assert_array_equal(masks.outlines(1), [square])
    assert masks.outlines(3) == [] and outlines(np.zeros((3, 3), np.uint8)) == []
    with pytest.raises(ValueError, match="number: object 2 has no mask"):
        masks.outlines(2)
