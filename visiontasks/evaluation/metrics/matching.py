"""Which detection found which object: pairs that overlap, over all pictures at once, and who gets whom."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from pycocotools import mask as coco_mask

HIT, MISS, IGNORED = 1, 0, -1  # what became of a detection


@dataclasses.dataclass(frozen=True)
class Truths:
    """The objects of pictures, one after another in the order of the pictures.

    Attributes:
        picture: int32 (N,), the number of the picture that each is in, not falling.
        boxes: float64 (N, 4), x, y, width, height: COCO's form.
        classes: int32 (N,).
        crowd: bool (N,), neither rewarded nor punished.
        areas: float64 (N,), in pixels.
    """

    picture: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    @classmethod
    def none(cls) -> "Truths":
        """No object."""
        number = np.zeros(0, np.int32)
        return cls(number, np.zeros((0, 4)), number, np.zeros(0, bool), np.zeros(0))


@dataclasses.dataclass(frozen=True)
class Found:
    """The detections of pictures, one after another in the order of the pictures.

    Attributes:
        picture: int32 (D,), the number of the picture that each is in, not falling.
        boxes: float64 (D, 4), x, y, width, height.
        classes: int32 (D,).
        scores: float32 (D,).
    """

    picture: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    @classmethod
    def none(cls) -> "Found":
        """No detection."""
        number = np.zeros(0, np.int32)
        return cls(number, np.zeros((0, 4)), number, np.zeros(0, np.float32))


Rows = TypeVar("Rows", Truths, Found)


def joined(parts: Sequence[Rows]) -> Rows:
    """Several pictures' rows as one; at least one part."""
    columns = [field.name for field in dataclasses.fields(parts[0])]
    return type(parts[0])(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Detections and objects of one picture that overlap: row numbers into Found and Truths, and their IoU."""

    found: np.ndarray
    truth: np.ndarray
    iou: np.ndarray

    def where(self, kept: np.ndarray) -> "Pairs":
        """The pairs that a bool (P,) or row numbers select."""
        return Pairs(self.found[kept], self.truth[kept], self.iou[kept])


def overlapping(truths: Truths, found: Found, least: float, crowd: bool) -> Pairs:
    """All pairs, of any two classes, whose IoU is at least `least`.

    Args:
        crowd: whether the overlap with a crowd is a share of the detection's own area, as COCO counts it; if not it is
            the plain IoU.
    """
    regions = truths.crowd if crowd else np.zeros_like(truths.crowd)
    last = 1 + max(truths.picture.max(initial=-1), found.picture.max(initial=-1))
    at = [np.searchsorted(rows.picture, np.arange(last + 1)).tolist() for rows in (truths, found)]
    parts = [(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))]
    # a picture at a time: the matrix of all against all would not fit into memory
    for first, end, start, stop in zip(at[0], at[0][1:], at[1], at[1][1:], strict=False):
        if first == end or start == stop:
            continue
        iou = coco_mask.iou(found.boxes[start:stop], truths.boxes[first:end], regions[first:end].tolist())
        rows, columns = np.nonzero(iou >= least)
        parts.append((rows + start, columns + first, iou[rows, columns]))
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def greedy(pairs: Pairs, scores: np.ndarray) -> Pairs:
    """COCO's matching: by falling score each detection takes the free object that it overlaps most; of equal, the last.

    Args:
        pairs: whose IoU suffices; crowds are not among them.
        scores: (D,), of all detections.
    """
    rank = np.empty(len(scores), np.intp)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    order = np.lexsort((-pairs.truth, -pairs.iou, rank[pairs.found]))
    served, taken, kept = set(), set(), []
    # one plain loop over the few pairs that overlap: who gets what depends on all who came before
    for row, found, truth in zip(order.tolist(), *(a[order].tolist() for a in (pairs.found, pairs.truth)), strict=True):
        if found not in served and truth not in taken:
            served.add(found)
            taken.add(truth)
            kept.append(row)
    return pairs.where(np.array(kept, np.intp))


def coco_outcomes(truths: Truths, found: Found, pairs: Pairs) -> tuple[np.ndarray, Pairs]:
    """What became of each detection by COCO's rules, and the matches.

    Args:
        pairs: from `overlapping` with `crowd`.

    Returns:
        int8 (D,) HIT, MISS or IGNORED, for what matches no object but lies on a crowd of its class; and the hits.
    """
    same = pairs.where(found.classes[pairs.found] == truths.classes[pairs.truth])
    on_crowd = truths.crowd[same.truth]
    hits = greedy(same.where(~on_crowd), found.scores)
    outcomes = np.full(len(found.scores), MISS, np.int8)
    outcomes[same.found[on_crowd]] = IGNORED
    outcomes[hits.found] = HIT
    return outcomes, hits


def best_f1(outcomes: np.ndarray, scores: np.ndarray, positives: int) -> tuple[float, float]:
    """The largest F1 = 2 TP / (detections + objects) that any threshold on the score gives, and that threshold.

    Detections are kept where their score is at least the threshold; of equal F1 the highest threshold is taken. Without
    objects both are NaN; without detections F1 is 0 and the threshold NaN.

    Args:
        outcomes: int8 (D,); what is IGNORED counts nowhere.
        scores: (D,).
        positives: how many objects there are to be found.
    """
    counted = outcomes != IGNORED
    order = np.argsort(-scores[counted], kind="stable")
    hits, scores = np.cumsum(outcomes[counted][order] == HIT), scores[counted][order]
    if not positives or not len(scores):
        return (0.0 if positives else float("nan")), float("nan")
    # equal scores fall on one side of any threshold together: only the last of each run counts
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    f1 = 2 * hits[ends] / (ends + 1 + positives)
    best = int(np.argmax(f1))
    return float(f1[best]), float(scores[ends[best]])
