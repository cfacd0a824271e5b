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
    """uint8 (N, H, W): turned ellipses that do not touch, up to many tiles long."""
    rng, taken, masks = np.random.default_rng(seed), np.zeros((size, size), np.uint8), []
    while len(masks) < count:
        mask = np.zeros((size, size), np.uint8)
        center, axes = rng.integers(0, size, 2).tolist(), rng.integers(8, [largest, largest // 3]).tolist()
        cv2.ellipse(mask, center, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        if not (cv2.dilate(mask, np.ones((5, 5), np.uint8)) & taken).any():
            taken |= mask
            masks.append(mask)
    return np.stack(masks)


def seen(whole, scores, parts, thinnest=1):
    """What a perfect network answers for each view: (boxes, scores, classes, masks, windows, view)."""
    columns = []
    for number, view in enumerate(parts):
        top, left, bottom, right = view.window
        for mask, score in zip(whole, scores, strict=True):
            cut = np.zeros_like(mask)
            cut[top:bottom, left:right] = mask[top:bottom, left:right]
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
