"""Matches detections with objects: overlapping pairs of all images at once, and who is assigned to whom."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from pycocotools import mask as coco_mask

HIT, MISS, IGNORED = 1, 0, -1  # the outcome of a detection


@dataclasses.dataclass(frozen=True)
class GroundTruth:
    """The annotated objects of all images, in the order of the images.

    Attributes:
        image: int32 (N,), the number of each object's image, ascending.
        boxes: float64 (N, 4), x, y, width, height: COCO's format.
        classes: int32 (N,).
        crowd: bool (N,), objects that are ignored.
        areas: float64 (N,), in pixels.
    """

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    @classmethod
    def none(cls) -> "GroundTruth":
        """No object."""
        integers = np.zeros(0, np.int32)
        return cls(integers, np.zeros((0, 4)), integers, np.zeros(0, bool), np.zeros(0))


@dataclasses.dataclass(frozen=True)
class Detections:
    """The detections of all images, in the order of the images.

    Attributes:
        image: int32 (D,), the number of each detection's image, ascending.
        boxes: float64 (D, 4), x, y, width, height.
        classes: int32 (D,).
        scores: float32 (D,).
    """

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    @classmethod
    def none(cls) -> "Detections":
        """No detection."""
        integers = np.zeros(0, np.int32)
        return cls(integers, np.zeros((0, 4)), integers, np.zeros(0, np.float32))


Rows = TypeVar("Rows", GroundTruth, Detections)


def joined(rows: Sequence[Rows]) -> Rows:
    """The rows of several images as one object; at least one image."""
    columns = [field.name for field in dataclasses.fields(rows[0])]
    return type(rows[0])(*(np.concatenate([getattr(one, name) for one in rows]) for name in columns))


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Overlapping detections and objects of one image: row numbers into Detections and GroundTruth, and their IoU."""

    detection: np.ndarray
    target: np.ndarray
    iou: np.ndarray

    def where(self, kept: np.ndarray) -> "Pairs":
        """The pairs that a bool (P,) or row numbers select."""
        return Pairs(self.detection[kept], self.target[kept], self.iou[kept])


def overlapping(targets: GroundTruth, detections: Detections, least: float, crowd: bool) -> Pairs:
    """All pairs, of equal or different classes, whose IoU is at least `least`.

    Args:
        crowd: whether the overlap with a crowd is divided by the detection's area alone, as in COCO; otherwise it is
            the IoU.
    """
    regions = targets.crowd if crowd else np.zeros_like(targets.crowd)
    last = 1 + max(targets.image.max(initial=-1), detections.image.max(initial=-1))
    at = [np.searchsorted(rows.image, np.arange(last + 1)).tolist() for rows in (targets, detections)]
    pairs = [(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))]
    # one image at a time: the matrix of all detections and all objects would not fit into memory
    for first, end, start, stop in zip(at[0], at[0][1:], at[1], at[1][1:], strict=False):
        if first == end or start == stop:
            continue
        iou = coco_mask.iou(detections.boxes[start:stop], targets.boxes[first:end], regions[first:end].tolist())
        rows, columns = np.nonzero(iou >= least)
        pairs.append((rows + start, columns + first, iou[rows, columns]))
    return Pairs(*(np.concatenate(column) for column in zip(*pairs, strict=True)))


def greedy(pairs: Pairs, scores: np.ndarray) -> Pairs:
    """COCO's matching: in order of score, each detection gets the free object it overlaps most, of equal the last.

    Args:
        pairs: with a sufficient IoU, without crowds.
        scores: (D,), of all detections.
    """
    rank = np.empty(len(scores), np.intp)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    order = np.lexsort((-pairs.target, -pairs.iou, rank[pairs.detection]))
    matched, taken, kept = set(), set(), []
    columns = (a[order].tolist() for a in (pairs.detection, pairs.target))
    # a plain loop over the few overlapping pairs: each match depends on all matches before it
    for row, detection, target in zip(order.tolist(), *columns, strict=True):
        if detection not in matched and target not in taken:
            matched.add(detection)
            taken.add(target)
            kept.append(row)
    return pairs.where(np.array(kept, np.intp))


def coco_outcomes(targets: GroundTruth, detections: Detections, pairs: Pairs) -> tuple[np.ndarray, Pairs]:
    """The outcome of each detection by COCO's rules, and the matches.

    Args:
        pairs: from `overlapping` with `crowd`.

    Returns:
        int8 (D,) HIT, MISS, or IGNORED for an unmatched detection on a crowd of its class; and the pairs that are hits.
    """
    same = pairs.where(detections.classes[pairs.detection] == targets.classes[pairs.target])
    on_crowd = targets.crowd[same.target]
    hits = greedy(same.where(~on_crowd), detections.scores)
    outcomes = np.full(len(detections.scores), MISS, np.int8)
    outcomes[same.detection[on_crowd]] = IGNORED
    outcomes[hits.detection] = HIT
    return outcomes, hits


def best_f1(outcomes: np.ndarray, scores: np.ndarray, positives: int) -> tuple[float, float]:
    """The largest F1 = 2 TP / (detections + objects) over all score thresholds, and its threshold.

    Detections whose score is at least the threshold are kept. Of equal F1 the highest threshold is taken. Without
    objects both are NaN; without detections F1 is 0 and the threshold is NaN.

    Args:
        outcomes: int8 (D,); IGNORED detections are not counted.
        scores: (D,).
        positives: number of objects.
    """
    counted = outcomes != IGNORED
    order = np.argsort(-scores[counted], kind="stable")
    hits, scores = np.cumsum(outcomes[counted][order] == HIT), scores[counted][order]
    if not positives or not len(scores):
        return (0.0 if positives else float("nan")), float("nan")
    # detections of equal scores are kept or dropped together: only the last of each run counts
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    f1 = 2 * hits[ends] / (ends + 1 + positives)
    best = int(np.argmax(f1))
    return float(f1[best]), float(scores[ends[best]])
