"""`InstanceMasks`: the same as whole masks, moved as whole masks are."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path
from pycocotools import mask as coco_mask

from visiontasks.instance_masks import NO_MASK, InstanceMasks
from visiontasks.mask_shapes import Patch
from visiontasks.sample import Sample

SIZE = (60, 90)


def polygon(rng, center, radius, corners=9):
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius * rng.uniform(0.4, 1, (corners, 1)) + center


def polygons(rng, count=5):
    """Objects of one or two polygons; some reach over the image's edge."""
    made = []
    for _ in range(count):
        parts = [polygon(rng, rng.uniform((0, 0), SIZE[::-1]), rng.uniform(3, 30)) for _ in range(rng.integers(1, 3))]
        made.append(tuple(parts))
    return InstanceMasks(made, SIZE)


def whole(masks):
    """The masks as pycocotools decodes them, uint8 (N, H, W)."""
    height, width = masks.size
    found = []
    for shape in masks.shapes:
        runs = coco_mask.frPyObjects([points.ravel().tolist() for points in shape], height, width)
        found.append(coco_mask.decode(coco_mask.merge(runs)))
    return np.stack(found)


@given(st.integers(0, 10**6))
def test_polygons_have_the_pixels_that_coco_gives_them(seed):
    masks = polygons(np.random.default_rng(seed))
    expected = whole(masks)
    np.testing.assert_array_equal(masks, expected)
    np.testing.assert_array_equal(masks.areas(), expected.sum(axis=(1, 2)))
    for number, mask in enumerate(expected):
        np.testing.assert_array_equal(coco_mask.decode(masks.rle(number)), mask)


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_a_box_is_around_the_pixels_whose_center_a_mask_has(seed):
    masks = polygons(np.random.default_rng(seed))
    centers = np.stack(np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5), axis=-1).reshape(-1, 2)
    for shape, box in zip(masks.shapes, masks.boxes(), strict=True):
        seen = np.any([Path(np.vstack([p, p[:1]]), closed=True).contains_points(centers) for p in shape], axis=0)
        inside = centers[seen]
        expected = [*(inside.min(axis=0) - 0.5), *(inside.max(axis=0) + 0.5)] if seen.any() else [0, 0, 0, 0]
        np.testing.assert_array_equal(box, expected)


@given(st.integers(0, 10**6))
def test_pixels_stay_what_they_are(seed):
    expected = whole(polygons(np.random.default_rng(seed)))
    masks = InstanceMasks.of(expected)
    np.testing.assert_array_equal(masks, expected)
    np.testing.assert_array_equal(masks[expected.any(axis=(1, 2))], expected[expected.any(axis=(1, 2))])
    region = np.random.default_rng(seed).random(SIZE) < 0.5
    np.testing.assert_array_equal(masks.within(region), expected * region)


MOVES = {
    "flip": ([[-1, 0, 90], [0, 1, 0]], SIZE),
    "transpose": ([[0, 1, 0], [1, 0, 0]], SIZE[::-1]),
    "crop": ([[1, 0, -20], [0, 1, -13]], (30, 40)),
    "larger": ([[2, 0, 0], [0, 2, 0]], (120, 180)),
    "smaller": ([[0.5, 0, 0], [0, 0.5, 0]], (30, 45)),
    "turned": ([[0.8, -0.6, 30], [0.6, 0.8, -10]], (80, 80)),
}


FINE = 8  # cells of a pixel's width


def drawn(shapes, matrix, size, change):
    """Polygons moved and drawn finely by OpenCV, their edge changed by a pixel: uint8 (H, W) at the pixels' centers."""
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * FINE + 1, 2 * FINE + 1))
    made = np.zeros(size, np.uint8)
    for points in shapes:  # each by itself: where two meet, a pixel may belong to neither
        fine = np.zeros((size[0] * FINE + 4 * FINE, size[1] * FINE + 4 * FINE), np.uint8)
        moved = (points @ matrix[:, :2].T + matrix[:, 2] + 2) * FINE - 0.5
        cv2.fillPoly(fine, [np.round(moved * 16).astype(np.int32)], 1, shift=4)
        centers = slice(2 * FINE + FINE // 2, None, FINE)
        made = np.maximum(made, change(fine, disk)[centers, centers][: size[0], : size[1]])
    return made


@pytest.mark.parametrize("name", MOVES)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_moved_polygons_are_within_a_pixel_of_their_edge(name, seed):
    matrix, size = np.array(MOVES[name][0], float), MOVES[name][1]
    masks = polygons(np.random.default_rng(seed))
    image = [np.array([[0, 0], [SIZE[1], 0], [SIZE[1], SIZE[0]], [0, SIZE[0]]], float)]
    for shapes, ours in zip(masks.shapes, np.asarray(masks.moved(matrix, size)), strict=True):
        least, most = (
            np.minimum(drawn(shapes, matrix, size, change), drawn(image, matrix, size, change))
            for change in (cv2.erode, cv2.dilate)
        )
        assert (ours >= least).all() and (ours <= most).all()


@pytest.mark.parametrize("name", MOVES)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_moved_pixels_are_within_a_pixel_of_their_edge(name, seed):
    matrix, size = np.array(MOVES[name][0], float), MOVES[name][1]
    before = whole(polygons(np.random.default_rng(seed)))
    found = np.asarray(InstanceMasks.of(before).moved(matrix, size))
    square = np.ones((3, 3), np.uint8)

    def warped(mask, change):
        mask = change(cv2.copyMakeBorder(mask, 4, 4, 4, 4, cv2.BORDER_CONSTANT), square)
        offset = matrix[:, 2] + matrix[:, :2] @ [0.5 - 4, 0.5 - 4] - 0.5
        mask = cv2.warpAffine(mask, np.column_stack([matrix[:, :2], offset]), size[::-1], flags=cv2.INTER_NEAREST)
        return mask if abs(np.linalg.det(matrix[:, :2])) >= 1 else change(mask, square)

    for mask, ours in zip(before, found, strict=True):
        assert (ours >= warped(mask, cv2.erode)).all() and (ours <= warped(mask, cv2.dilate)).all()
        if name in ("flip", "transpose", "crop"):
            np.testing.assert_array_equal(ours, warped(mask, lambda mask, _: mask))


def test_a_pixel_that_the_border_crosses_stays_and_what_lies_outside_does_not_come_back():
    row = InstanceMasks.of(np.ones((1, 1, 10), np.uint8))
    larger = [[1.28, 0, -5.853], [0, 1, 0]]  # its fifth pixel ends at 0.547, beyond the first center
    moved = row.moved(larger, (1, 6))
    assert np.asarray(moved).tolist() == [[[1] * 6]]
    back = np.asarray(moved.moved([[1, 0, 4], [0, 1, 0]], (1, 16)))[0, 0]
    # what stays of the pixels on the border may lie in the new image, by less than a pixel of theirs
    assert back.tolist() == [0] * 3 + [1] * 8 + [0] * 5
    gone = row.moved([[1, 0, -4], [0, 1, 0]], (1, 6)).moved([[1, 0, 4], [0, 1, 0]], (1, 10))
    assert np.asarray(gone)[0, 0].tolist() == [0] * 4 + [1] * 6


@pytest.mark.parametrize("form", ["polygons", "pixels"])
def test_a_crop_has_the_mask_s_value_at_the_center_of_each_cell(form):
    masks = polygons(np.random.default_rng(1), 40)
    expected = whole(masks)
    masks = masks if form == "polygons" else InstanceMasks.of(expected)
    inner = expected.sum(axis=(1, 2)) == expected[:, 1:-1, 1:-1].sum(axis=(1, 2))
    kept = inner & (masks.areas() > 60)
    masks, expected = masks[kept], expected[kept]
    assert len(masks) > 5
    boxes = masks.boxes()
    crops = masks.crops(boxes, 28)
    assert crops.shape == (len(masks), 28, 28) and set(np.unique(crops)) == {0, 1}
    for crop, box, mask in zip(crops, boxes, expected, strict=True):
        steps = (np.arange(28) + 0.5) / 28
        columns, rows = (box[axis] + steps * (box[axis + 2] - box[axis]) for axis in (0, 1))
        nearest = mask[np.floor(rows).astype(int)[:, None], np.floor(columns).astype(int)]
        assert (crop != nearest).mean() < 0.1  # cells that the edge crosses
    far = masks.crops(boxes + np.float32([1000, 0, 1000, 0]), 7)
    assert (far == NO_MASK).all()  # which say nothing of those boxes


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1)))
def test_run_lengths_are_pycocotools(mask):
    expected = coco_mask.encode(np.asfortranarray(mask))
    masks = InstanceMasks.of(mask[None])
    assert masks.rle(0) == expected == InstanceMasks([Patch(0, 0, mask)], mask.shape).rle(0)
    assert masks.text(0)["counts"] == expected["counts"].decode()
    again = InstanceMasks([masks.text(0)], mask.shape)
    assert again.text(0) == masks.text(0) and again.empty[0] == (not mask.any())
    np.testing.assert_array_equal(again, mask[None])


def test_an_object_may_have_no_mask():
    patch = Patch(2, 1, np.ones((3, 4), np.uint8))
    masks = InstanceMasks([None, patch, ()], (8, 9))
    assert masks.known.tolist() == [False, True, True]
    assert np.isnan(masks.areas()[0]) and masks.areas()[1:].tolist() == [12, 0]
    assert masks.boxes().tolist() == [[0, 0, 0, 0], [2, 1, 6, 4], [0, 0, 0, 0]]
    assert np.asarray(masks).sum() == 12 and masks.rle(0) is None
    crops = masks.crops(np.float32([[0, 0, 4, 4], [2, 1, 6, 4], [0, 0, 4, 4]]), 5)
    assert (crops[0] == NO_MASK).all() and (crops[1] == 1).all() and (crops[2] == NO_MASK).all()
    moved = masks.moved([[1, 0, 3], [0, 1, 0]], (8, 9))
    assert moved.known.tolist() == masks.known.tolist() and moved.boxes()[1].tolist() == [5, 1, 9, 4]
    both = masks[[1]] + masks[:1]
    assert len(both) == 2 and both.known.tolist() == [True, False]
    with pytest.raises(ValueError, match=r"size: expected masks of one image size, got \(8, 9\) and \(9, 9\)"):
        masks + InstanceMasks([], (9, 9))


def test_an_empty_mask_of_a_sample_is_none_and_one_that_a_move_empties_is_empty():
    whole = np.zeros((3, 20, 30), np.uint8)
    whole[1, 2:8, 3:9] = 1
    outside = (np.array([[40.0, 3], [50, 3], [50, 9]]),)
    nothing = {"size": [20, 30], "counts": coco_mask.encode(np.asfortranarray(whole[0]))["counts"]}
    sample = Sample(
        np.zeros((20, 30, 3), np.uint8),
        boxes=np.float32([[0, 0, 5, 5], [3, 2, 9, 8], [1, 1, 4, 4], [0, 0, 9, 9], [0, 0, 9, 9]]),
        classes=np.zeros(5, int),
        instance_masks=InstanceMasks([*InstanceMasks.of(whole).shapes, outside, nothing], (20, 30)),
    )
    assert sample.instance_masks.known.tolist() == [False, True, False, False, False]
    moved = InstanceMasks.of(whole).moved([[1, 0, -5], [0, 1, -5]], (20, 30))
    assert moved.empty.tolist() == [True, False, True]
    assert InstanceMasks.of(whole).moved([[1, 0, -9], [0, 1, 0]], (20, 30)).empty.all()
    assert sample.instance_masks.checked() is sample.instance_masks  # not looked at again


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Patch(25, 0, np.ones((4, 9), np.uint8)), "object 1: expected a window within the image, 30 wide .* 25 to 34"),
        (Patch(0, 0, np.full((4, 4), 2, np.uint8)), "expected pixels of 0 or 1 in uint8 .* up to 2"),
        ({"size": [5, 5], "counts": b"9"}, r"expected run lengths of the image's \(height, width\) \(20, 30\), got"),
        ({"size": [20, 30], "counts": b"9"}, "expected compressed run lengths that add up to 20 × 30"),
        ((np.zeros((2, 2)),), "expected polygons of three or more points"),
        ((np.full((3, 2), np.nan),), "object 1: expected finite points"),
        ("mask", "expected a tuple of polygons, run lengths, a Patch or None, got str"),
    ],
)
def test_a_shape_that_does_not_fit_its_image_is_an_error(shape, message):
    with pytest.raises(ValueError, match=f"instance_masks.*{message}"):
        Sample(
            np.zeros((20, 30, 3), np.uint8),
            boxes=np.zeros((2, 4), np.float32) + np.float32([0, 0, 9, 9]),
            classes=np.zeros(2, int),
            instance_masks=InstanceMasks([None, shape], (20, 30)),
        )


def test_whole_masks_are_always_a_copy():
    with pytest.raises(ValueError, match="copy: expected None or True, got False"):
        np.array(InstanceMasks([], (3, 3)), copy=False)
