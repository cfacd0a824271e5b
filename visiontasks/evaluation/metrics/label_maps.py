"""Metrics of label maps, in which a pixel belongs to one object at most: panoptic quality and the matching score."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from visiontasks.evaluation.metrics.confusion import mean_of_defined, ratio

IOUS = np.arange(50, 100, 5) / 100


class LabelMaps:
    """Counts matches of objects and masks, by class, over images.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int):
        self._qualities = np.zeros((classes, 4))  # matches with an IoU above 0.5, their IoUs, objects, masks
        self._counts = []  # per image: matches at each of IOUS, then objects, then masks
        self.best = []  # of each object, the IoU with the mask of its class that overlaps it most

    def add(self, target, classes, predicted, predicted_classes, ignored):
        """Count an image.

        Args:
            target, predicted: int32 (H, W), the number of the object, or of the predicted mask, at each pixel; -1 none.
            classes, predicted_classes: int (N,), (P,), the class of each number.
            ignored: {class: bool (H, W)}, its ignored regions: a mask of the class that matches nothing and has more
                than half of its pixels there is not counted.
        """
        size = (len(classes) + 1, len(predicted_classes) + 1)
        pairs = (target + 1) * np.int64(size[1]) + predicted + 1
        shared = np.bincount(pairs.ravel(), minlength=size[0] * size[1]).reshape(size)
        areas, covered = shared.sum(axis=1)[1:], shared.sum(axis=0)[1:]
        counts = np.zeros(len(IOUS) + 2)
        for number in np.union1d(classes[areas > 0], predicted_classes[covered > 0]):
            rows = np.flatnonzero((classes == number) & (areas > 0))
            columns = np.flatnonzero((predicted_classes == number) & (covered > 0))
            overlap = shared[1:, 1:][np.ix_(rows, columns)]
            iou = overlap / (areas[rows, None] + covered[columns] - overlap)
            self.best += iou.max(axis=1, initial=0).tolist()
            region = predicted[ignored[number]] if number in ignored else predicted[:0]
            mostly_ignored = np.bincount(region.ravel() + 1, minlength=size[1])[1:] > covered / 2
            counted = ~mostly_ignored[columns]
            for index, threshold in enumerate(IOUS):
                counts[index] += _matches(iou, threshold)
            matched = iou > 0.5  # at most one in each row and column, because no pixel belongs to two
            counted |= matched.any(axis=0)
            self._qualities[number] += matched.sum(), iou[matched].sum(), len(rows), counted.sum()
            counts[-2:] += len(rows), counted.sum()
        self._counts.append(counts)

    def result(self) -> dict[str, float]:
        """ "pq", "sq", "rq", "matching_score" …, as in `Instances`."""
        matches, ious, objects, masks = self._qualities.T
        counts = np.array(self._counts).reshape(-1, len(IOUS) + 2)
        pooled = _scores(counts.sum(axis=0))
        return {
            "pq": mean_of_defined(ratio(ious, (objects + masks) / 2)),
            # a class of which nothing is matched has 0, as in panopticapi
            "sq": mean_of_defined(np.where((matches == 0) & (objects + masks > 0), 0.0, ratio(ious, matches))),
            "rq": mean_of_defined(ratio(matches, (objects + masks) / 2)),
            "matching_score": float(pooled.mean()),
            **{
                f"matching_score{percent}": float(pooled[IOUS.tolist().index(percent / 100)])
                for percent in (50, 75, 90)
            },
            "matching_score_by_image": mean_of_defined(_scores(counts).mean(axis=-1)),
        }


def _scores(counts):
    """TP / (TP + FP + FN) at each IoU, from (…, counts); NaN without objects and masks."""
    matches = counts[..., :-2]
    return ratio(matches, counts[..., -2:].sum(axis=-1, keepdims=True) - matches)


def _matches(iou, threshold):
    """The largest number of pairs, no object and no mask in two of them, with a sufficient IoU."""
    enough = iou >= threshold
    if (enough.sum(axis=0) <= 1).all() and (enough.sum(axis=1) <= 1).all():
        return enough.sum()
    return enough[linear_sum_assignment(enough, maximize=True)].sum()
