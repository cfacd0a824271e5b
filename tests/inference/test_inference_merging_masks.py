"""Masks of tiles: joined at the seams, objects are what they are in one piece."""

import cv2
import numpy as np
import pytest

from visiontasks.evaluation.tasks.instances import Instances
from visiontasks.inference.merging_masks import merge_masks
from visiontasks.inference.views import views
from visiontasks.instance_masks import InstanceMasks
from visiontasks.preprocess import Preprocess


def blobs(size, count, seed=0, largest=300):
    """uint8 (N, H, W): rotated ellipses that do not touch, up to many tiles long."""
    rng, taken, masks = np.random.default_rng(seed), np.zeros((size, size), np.uint8), []
    while len(masks) < count:
        mask = np.zeros((size, size), np.uint8)
        center, axes = rng.integers(0, size, 2).tolist(), rng.integers(8, [largest, largest // 3]).tolist()
        cv2.ellipse(mask, center, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        if not (cv2.dilate(mask, np.ones((5, 5), np.uint8)) & taken).any():
            taken |= mask
            masks.append(mask)
    return np.stack(masks)


def seen(whole, scores, parts, thinnest=1, noise=0):
    """Each view's masks, or up to `noise` pixels larger or smaller: (boxes, scores, classes, masks, windows, view)."""
    columns, rng = [], np.random.default_rng(0)
    for number, view in enumerate(parts):
        top, left, bottom, right = view.window
        for mask, score in zip(whole, scores, strict=True):
            cut = np.zeros_like(mask)
            cut[top:bottom, left:right] = mask[top:bottom, left:right]
            if noise and cut.any():
                change = (cv2.erode, cv2.dilate)[rng.integers(2)]
                cut = change(cut, np.ones((2 * rng.integers(noise + 1) + 1,) * 2, np.uint8))
                cut[:top] = cut[bottom:] = cut[:, :left] = cut[:, right:] = 0
            box = InstanceMasks.of(cut[None]).boxes()[0]
            if min(box[2] - box[0], box[3] - box[1]) >= thinnest:
                columns.append(
                    (box, score, 0, InstanceMasks.of(cut[None]).shapes[0], (left, top, right, bottom), number)
                )
    boxes, scores, classes, shapes, windows, numbers = zip(*columns, strict=True)
    masks = InstanceMasks(shapes, whole.shape[1:])
    return np.float32(boxes), np.float32(scores), np.array(classes), masks, np.array(windows), np.array(numbers)


@pytest.mark.parametrize("flip", [False, True])
def test_objects_across_many_seams_are_whole(flip):
    whole = blobs(2048, 60)
    scores = np.linspace(0.9, 0.5, len(whole)).astype(np.float32)
    parts = views((2048, 2048), Preprocess((256, 256), "stretch"), tile=512, flip=flip)
    found = seen(whole, scores, parts)
    assert len(parts) >= 25 and len(found[0]) > 1.5 * len(whole)
    boxes, merged, classes, masks = merge_masks(*found)
    assert len(masks) == len(whole) and (np.diff(merged) <= 0).all() and not classes.any()
    np.testing.assert_array_equal(np.asarray(masks), whole)
    np.testing.assert_array_equal(merged, scores)
    np.testing.assert_array_equal(boxes, InstanceMasks.of(whole).boxes())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_masks_that_differ_by_pixels_leave_no_slivers_at_seams(seed):
    """Two pixels more or less of half of the masks, as networks differ from tile to tile."""
    whole = blobs(700, 40, seed, largest=120)
    parts = views((700, 700), Preprocess((128, 128), "stretch"), tile=256)
    masks = merge_masks(*seen(whole, np.full(len(whole), 0.9, np.float32), parts, noise=2))[3]
    found = np.asarray(masks).astype(bool)
    overlap = [(found & mask).sum(axis=(1, 2)) / (found | mask).sum(axis=(1, 2)) for mask in whole.astype(bool)]
    assert len(found) == len(whole) and (np.max(overlap, axis=1) > 0.5).all()
    assert len(set(np.argmax(overlap, axis=1))) == len(whole)


@pytest.mark.parametrize("turns", range(4))
def test_the_arms_of_an_object_in_one_view_are_joined_by_the_view_that_shows_it_whole(turns):
    u = np.zeros((1, 120, 120), np.uint8)
    u[0, 10:90, 20:40] = u[0, 10:90, 70:90] = u[0, 70:90, 20:90] = 1
    u = np.rot90(u, turns, axes=(1, 2)).copy()
    ends = ((0, 60), (40, 120)) if turns < 2 else ((0, 80), (60, 120))
    windows = [(0, low, 120, high) if turns % 2 == 0 else (low, 0, high, 120) for low, high in ends]
    shapes, seen_in = [], []
    for view, (x1, y1, x2, y2) in enumerate(windows):
        part = np.zeros((120, 120), np.uint8)
        part[y1:y2, x1:x2] = u[0, y1:y2, x1:x2]
        count, labels = cv2.connectedComponents(part)
        shapes += [*InstanceMasks.of(np.stack([labels == n for n in range(1, count)]).astype(np.uint8)).shapes]
        seen_in += [view] * (count - 1)
    assert sorted(np.bincount(seen_in)) == [1, 2]
    masks = InstanceMasks(shapes, (120, 120))
    given = masks.boxes(), np.full(3, 0.9), np.zeros(3, int), masks, np.array(windows)[seen_in], np.array(seen_in)
    np.testing.assert_array_equal(merge_masks(*given)[3], u)


def test_touching_objects_of_one_view_stay_apart():
    """A chain of squares, each with its own neighbors on both sides, across two seams."""
    whole = np.zeros((24, 120, 200), np.uint8)
    for number in range(24):
        row, column = divmod(number, 12)
        whole[number, 30 + 20 * row : 50 + 20 * row, 2 + 16 * column : 18 + 16 * column] = 1
    parts = views((120, 200), Preprocess((64, 64), "stretch"), tile=80)
    for noise in (0, 1):
        masks = merge_masks(*seen(whole, np.full(24, 0.9, np.float32), parts, noise=noise))[3]
        assert len(masks) == 24, noise


def test_a_sliver_beyond_a_mask_that_is_too_small_is_left_out():
    """The view that shows all of an object misses the two columns that the other view shows."""
    ours, sliver = np.zeros((2, 1, 60, 100), np.uint8)
    ours[0, 20:40, 20:50] = sliver[0, 25:35, 50:52] = 1
    masks = InstanceMasks.of(np.concatenate([ours, sliver]))
    given = masks.boxes(), np.float32([0.9, 0.8]), np.zeros(2, int), masks
    found = merge_masks(*given, np.array([[0, 0, 80, 60], [50, 0, 100, 60]]), np.arange(2))[3]
    np.testing.assert_array_equal(found, ours)


def test_a_mask_that_is_too_large_does_not_join_its_neighbor():
    """Of two tiles that share a corner the first shows one object, the other both; all are cut."""
    whole = np.zeros((2, 150, 150), np.uint8)
    whole[0, 40:100, 40:80] = whole[1, 100:130, 40:90] = 1
    shapes = np.zeros((3, 150, 150), np.uint8)
    shapes[0], shapes[1, :, 50:], shapes[2, :, 50:] = whole[0], whole[0, :, 50:], whole[1, :, 50:]
    shapes[1, :50], shapes[2, 98:100, 50:90] = 0, 1
    masks, views_ = InstanceMasks.of(shapes), np.array([0, 1, 1])
    given = masks.boxes(), np.float32([0.9, 0.8, 0.7]), np.zeros(3, int), masks
    windows = np.array([[0, 0, 100, 100], [50, 50, 150, 150]])[views_]
    assert merge_masks(*given, windows, views_)[1].tolist() == np.float32([0.9, 0.7]).tolist()


def test_masks_without_pixels_are_left_out():
    masks = InstanceMasks([(), None, *InstanceMasks.of(np.ones((1, 9, 9), np.uint8)).shapes], (9, 9))
    given = np.float32([[0, 0, 9, 9]] * 3), np.ones(3), np.zeros(3, int), masks
    assert len(merge_masks(*given, np.array([[0, 0, 9, 9]] * 3), np.arange(3))[3]) == 1


def test_what_is_not_the_same_stays_apart():
    """Neighbors, other classes, and two masks of one view, are not merged."""
    mask = np.zeros((1, 40, 60), np.uint8)
    mask[0, 10:20, 10:30] = 1
    beside = np.roll(mask, 10, axis=2)  # shares half of it: an IoU of a third
    both = InstanceMasks.of(np.concatenate([mask, beside]))
    window, boxes = np.array([[0, 0, 60, 40]] * 2), both.boxes()
    for classes, views_, masks, count in (
        ([0, 0], [0, 1], both, 2),
        ([0, 1], [0, 1], InstanceMasks.of(np.concatenate([mask, mask])), 2),
        ([0, 0], [1, 1], InstanceMasks.of(np.concatenate([mask, mask])), 2),
        ([0, 0], [0, 1], InstanceMasks.of(np.concatenate([mask, mask])), 1),
    ):
        given = boxes if masks is both else boxes[[0, 0]]
        result = merge_masks(given, np.float32([0.4, 0.8]), np.array(classes), masks, window, np.array(views_))
        assert len(result[1]) == count and result[1][0] == np.float32(0.8)


def test_a_whole_object_keeps_its_mask_and_parts_are_put_together():
    """Also where the other view's mask is wrong."""
    ours, theirs = np.zeros((2, 1, 40, 100), np.uint8)
    ours[0, 10:30, 30:55] = theirs[0, 10:30, 32:55] = theirs[0, 2:6, 70:90] = 1
    masks = InstanceMasks.of(np.concatenate([ours, theirs]))
    given = masks.boxes(), np.float32([0.9, 0.8]), np.zeros(2, int), masks
    windows = np.array([[0, 0, 100, 40], [20, 0, 100, 40]])
    boxes, _, _, merged = merge_masks(*given, windows, np.arange(2))
    np.testing.assert_array_equal(merged, ours)
    assert boxes.tolist() == [[30, 10, 55, 30]]
    # cut by both: each view's part, and in both the one that shows more
    ours, theirs = np.zeros((2, 1, 40, 100), np.uint8)
    ours[0, 10:30, 20:60], theirs[0, 11:30, 50:80] = 1, 1
    masks = InstanceMasks.of(np.concatenate([ours, theirs]))
    given = masks.boxes(), np.float32([0.9, 0.8]), np.zeros(2, int), masks
    boxes, _, _, merged = merge_masks(*given, np.array([[0, 0, 60, 40], [50, 0, 100, 40]]), np.arange(2))
    expected = ours.copy()
    expected[0, 11:30, 60:80] = 1
    np.testing.assert_array_equal(merged, expected)
    assert boxes.tolist() == [[20, 10, 80, 30]]


def test_nothing_is_merged_to_nothing():
    empty = np.zeros((0, 4), np.float32)
    found = merge_masks(empty, empty[:, 0], empty[:, 0].astype(int), InstanceMasks([], (9, 9)), empty, empty[:, 0])
    assert [len(one) for one in found] == [0, 0, 0, 0]


@pytest.mark.parametrize("flip", [False, True])
def test_the_task_merges_what_the_head_predicts_for_tiles(flip):
    whole = blobs(320, 8, seed=3, largest=60)
    parts = views((320, 320), Preprocess((128, 128), "stretch"), tile=160, overlap=0.3, flip=flip)
    predictions = []
    for view in parts:
        top, left, bottom, right = view.window
        tile = whole[:, top:bottom, left:right]
        tile = tile[:, :, ::-1] if view.flipped else tile
        tile = InstanceMasks.of(np.ascontiguousarray(tile[tile.any(axis=(1, 2))]))
        grids = np.zeros((12, 56, 56), np.float32)
        boxes = np.zeros((12, 4), np.float32)
        boxes[: len(tile)], grids[: len(tile)] = tile.boxes(), tile.crops(tile.boxes(), 56)
        predictions.append(
            {
                "boxes": boxes * np.float32(0.8),
                "masks": grids,
                "scores": np.full(12, 0.9, np.float32),
                "classes": np.zeros(12, np.int32),
                "valid": np.arange(12) < len(tile),
            }
        )
    merged = Instances(["blob"]).merge(predictions, parts)
    assert len(merged["masks"]) == len(whole)
    ours = np.asarray(merged["masks"]).astype(bool)
    for mask in whole.astype(bool):
        assert ((ours & mask).sum(axis=(1, 2)) / (ours | mask).sum(axis=(1, 2))).max() > 0.9
