"""Looks for keypoints outside of their boxes, and for left and right that are swapped."""

from collections.abc import Sequence

import numpy as np

from visiontasks.data.checks.classes import single, single_objects
from visiontasks.data.checks.findings import WARNING, Finding
from visiontasks.data.checks.looking import Seen
from visiontasks.skeleton import Skeleton

OUTSIDE = 0.1  # of the longer of a box's width and height: how far a keypoint may lie outside
FEWEST = 5  # objects by which a pair of keypoints is judged
APART = 0.05  # of a box's width: left and right that are closer say nothing, as seen from the side


def check_keypoints(split: str, label_set: str, seen: Sequence[Seen], skeleton: Skeleton) -> list[Finding]:
    """What is wrong with the keypoints of a split."""
    outside, all_points, all_boxes = [], [], []
    for one in seen:
        labels = one.of(label_set)
        if labels.get("keypoints") is None or not len(labels["keypoints"]):
            continue
        points, boxes = single(labels, "keypoints"), single(labels, "boxes")
        numbers = single_objects(labels)
        room = OUTSIDE * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[:, None, None]
        beyond = (points[..., :2] < boxes[:, None, :2] - room) | (points[..., :2] > boxes[:, None, 2:] + room)
        beyond = beyond.any(axis=2) & (points[..., 2] > 0)
        for number, point in zip(*np.nonzero(beyond), strict=True):
            outside.append(f"{one.name}, object {numbers[number] + 1}, {skeleton[point]}")
        all_points.append(points)
        all_boxes.append(boxes)
    if not all_points:
        return []
    findings = []
    if outside:
        text = f"{len(outside)} × keypoint outside of its object's box"
        findings.append(Finding("keypoint_outside", WARNING, text, len(outside), outside, split))
    swapped = _swapped(np.concatenate(all_points), np.concatenate(all_boxes), skeleton)
    if swapped:
        text = (
            f"{len(swapped)} × pair of keypoints whose left one is on the left more often than not, as of nobody who "
            "faces the camera; left is the person's own left: check the names and their order"
        )
        findings.append(Finding("left_right", WARNING, text, len(swapped), swapped, split))
    return findings


def _swapped(points, boxes, skeleton) -> list[str]:
    """The pairs of whose objects significantly more than half show the left keypoint left of the right one."""
    sides, named = skeleton.sides, []
    for left, right in enumerate(skeleton.partners or ()):
        if sides[left] != "left":
            continue
        labeled = (points[:, [left, right], 2] > 0).all(axis=1)
        across = (points[labeled, left, 0] - points[labeled, right, 0]) / (boxes[labeled, 2] - boxes[labeled, 0])
        # an object that stands on its head shows left on the left
        across *= _upright(points[labeled], skeleton)
        across = across[np.abs(across) > APART]
        if len(across) >= FEWEST and (across < 0).mean() - 0.5 > 1 / np.sqrt(len(across)):
            share = f"{(across < 0).mean():.0%} of {len(across)}"
            named.append(f"{skeleton[left]} and {skeleton[right]}: {share}")
    return named


def _upright(points, skeleton) -> np.ndarray:
    """1 of objects whose shoulders are above their hips or which lack either, -1 of those upside down."""
    shoulders, hips = (skeleton.index_of(f"left_{part}", f"right_{part}") for part in ("shoulder", "hip"))
    if shoulders is None or hips is None:
        return np.ones(len(points))
    labeled = (points[:, [*shoulders, *hips], 2] > 0).all(axis=1)
    below = points[:, list(hips), 1].mean(axis=1) >= points[:, list(shoulders), 1].mean(axis=1)
    return np.where(labeled & ~below, -1, 1)
