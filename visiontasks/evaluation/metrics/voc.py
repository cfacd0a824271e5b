"""PASCAL VOC's average precision at IoU 0.5, of 2007 and of 2012, as the development kit computes it.

Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge", sections 4.2 and 4.4. The kit counts both
ends of a box as pixels inside it; boxes here end where the last pixel ends (xmax, ymax of a VOC file, and xmin - 1,
ymin - 1), which gives the same overlaps.
"""

import numpy as np

from visiontasks.evaluation.metrics.matching import HIT, IGNORED, MISS, Found, Pairs, Truths


def voc_outcomes(truths: Truths, found: Found, pairs: Pairs) -> np.ndarray:
    """What became of each detection by VOC's rules: int8 (D,) HIT, MISS or IGNORED.

    Each detection goes to the object of its class that it overlaps most, whoever else has it: the one of the highest
    score is a hit, the others are misses. What goes to a difficult object (a crowd) is ignored.

    Args:
        pairs: from `overlapping` at IoU 0.5, without `crowd`.
    """
    outcomes = np.full(len(found.scores), MISS, np.int8)
    same = pairs.where(found.classes[pairs.found] == truths.classes[pairs.truth])
    # the best object of each detection, of equal ones the first
    same = same.where(np.lexsort((same.truth, -same.iou, same.found)))
    same = same.where(np.unique(same.found, return_index=True)[1])
    difficult = truths.crowd[same.truth]
    outcomes[same.found[difficult]] = IGNORED
    same = same.where(~difficult)
    # the best detection of each object, of equal ones the first
    same = same.where(np.lexsort((same.found, -found.scores[same.found])))
    same = same.where(np.unique(same.truth, return_index=True)[1])
    outcomes[same.found] = HIT
    return outcomes


def average_precisions(
    truths: Truths, found: Found, outcomes: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """VOC07's and VOC12's average precision of each class, float64 (C,) each; NaN where there is nothing to find."""
    positives = np.bincount(truths.classes[~truths.crowd], minlength=classes)
    order = np.argsort(-found.scores, kind="stable")
    order = order[outcomes[order] != IGNORED]
    order = order[np.argsort(found.classes[order], kind="stable")]  # class by class, each by falling score
    ends = np.searchsorted(found.classes[order], np.arange(classes + 1))
    values = [
        average_precision(outcomes[order[start:end]] == HIT, int(count))
        for start, end, count in zip(ends, ends[1:], positives, strict=False)
    ]
    voc07, voc12 = np.reshape(values, (classes, 2)).T
    return voc07, voc12


def average_precision(hits: np.ndarray, positives: int) -> tuple[float, float]:
    """VOC07's and VOC12's average precision of one class; NaN twice where there is nothing to find.

    VOC07: the mean over recalls 0, 0.1 … 1 of the highest precision at that recall or above. VOC12: the area under the
    precision that is made to fall with recall. Recalls are compared as whole numbers, so that 3 of 10 reach 0.3.

    Args:
        hits: bool (D,), by falling score, without those ignored.
        positives: how many objects there are to be found.
    """
    if not positives:
        return float("nan"), float("nan")
    if not len(hits):
        return 0.0, 0.0
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # the first place that reaches each recall: from there on the envelope is the highest precision
    reached = np.searchsorted(10 * found, np.arange(11) * positives)
    voc07 = np.append(envelope, 0)[reached].mean()
    return float(voc07), float(envelope[hits].sum() / positives)
