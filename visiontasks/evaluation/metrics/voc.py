"""PASCAL VOC's average precision at IoU 0.5, of 2007 and of 2012, as the development kit computes it.

Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge", sections 4.2 and 4.4. The kit treats a box's
last row and column as inside the box. Here a box ends where its last pixel ends (a VOC file's xmax and ymax, and its
xmin - 1 and ymin - 1), which gives the same overlaps.
"""

import numpy as np

from visiontasks.evaluation.metrics.matching import HIT, IGNORED, MISS, Detections, GroundTruth, Pairs


def voc_outcomes(targets: GroundTruth, detections: Detections, pairs: Pairs) -> np.ndarray:
    """The outcome of each detection by VOC's rules: int8 (D,) HIT, MISS or IGNORED.

    Each detection is assigned to the object of its class that it overlaps most, even if that one is taken. Of an
    object's detections the one with the highest score is a hit, the others are misses. A detection that is assigned to
    a difficult object (a crowd) is ignored.

    Args:
        pairs: from `overlapping` at IoU 0.5, without `crowd`.
    """
    outcomes = np.full(len(detections.scores), MISS, np.int8)
    same = pairs.where(detections.classes[pairs.detection] == targets.classes[pairs.target])
    # the best object of each detection, of equal ones the first
    same = same.where(np.lexsort((same.target, -same.iou, same.detection)))
    same = same.where(np.unique(same.detection, return_index=True)[1])
    difficult = targets.crowd[same.target]
    outcomes[same.detection[difficult]] = IGNORED
    same = same.where(~difficult)
    # the best detection of each object, of equal ones the first
    same = same.where(np.lexsort((same.detection, -detections.scores[same.detection])))
    same = same.where(np.unique(same.target, return_index=True)[1])
    outcomes[same.detection] = HIT
    return outcomes


def average_precisions(
    targets: GroundTruth, detections: Detections, outcomes: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """VOC07's and VOC12's average precision of each class, float64 (C,) each; NaN for classes without objects."""
    positives = np.bincount(targets.classes[~targets.crowd], minlength=classes)
    order = np.argsort(-detections.scores, kind="stable")
    order = order[outcomes[order] != IGNORED]
    order = order[np.argsort(detections.classes[order], kind="stable")]  # by class, then by decreasing score
    ends = np.searchsorted(detections.classes[order], np.arange(classes + 1))
    values = [
        average_precision(outcomes[order[start:end]] == HIT, int(count))
        for start, end, count in zip(ends, ends[1:], positives, strict=False)
    ]
    voc07, voc12 = np.reshape(values, (classes, 2)).T
    return voc07, voc12


def average_precision(hits: np.ndarray, positives: int) -> tuple[float, float]:
    """VOC07's and VOC12's average precision of one class; NaN for both without objects.

    VOC07: the mean, over recalls 0, 0.1 … 1, of the highest precision at that recall or above. VOC12: the area under
    the precision made monotonic in recall. Recalls are compared as integers, so that 3 of 10 reach 0.3.

    Args:
        hits: bool (D,), by decreasing score, without ignored detections.
        positives: number of objects.
    """
    if not positives:
        return float("nan"), float("nan")
    if not len(hits):
        return 0.0, 0.0
    recalled = np.cumsum(hits)
    precision = recalled / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # the first index that reaches each recall: from there on the envelope is the highest precision
    reached = np.searchsorted(10 * recalled, np.arange(11) * positives)
    voc07 = np.append(envelope, 0)[reached].mean()
    return float(voc07), float(envelope[hits].sum() / positives)
