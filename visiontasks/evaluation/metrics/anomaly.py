"""`Anomaly`: AUROC of images and of pixels, and AUPRO, from histograms of the scores."""

import cv2
import numpy as np

from visiontasks.evaluation.metrics.metric import Metric
from visiontasks.sample import VOID

# a score's bin: the first bits of a float32 that is not negative, whose order is the numbers'; 11 bits of the mantissa
# distinguish scores that differ by 1 in 2000
_DROPPED = 12
BINS = 1 << (31 - _DROPPED)
FALSE_POSITIVES = 0.3  # the rate up to which AUPRO integrates


class Anomaly(Metric):
    """Scores anomalies from predictions {"score": float, "map": float32 (H, W)}; from 1 on they are anomalous.

    Class 0 is normal, all others are anomalous. `result` gives "image_auroc", the chance that an anomalous image has a
    higher score than a normal one; "pixel_auroc", the same for all pixels of all images; "aupro", P. Bergmann et al.
    2020 (https://arxiv.org/abs/1911.02357, section 3): the mean share of each connected anomalous region that is found,
    over the rate of normal pixels that are, integrated up to a rate of 0.3 and divided by it; and, at the threshold,
    "recall" and "specificity", the shares of anomalous and of normal images that are recognized. What has no label, or
    a void pixel, is not counted. Pixels' scores that differ by less than 1 in 2000 may count as equal.
    """

    def __init__(self):
        self.labels, self.scores = [], []
        self.normal, self.anomalous = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
        self.regions, self.found = 0, np.zeros(BINS)  # of each bin the shares of regions, summed

    def update(self, sample, prediction):
        if sample.label is not None and sample.label >= 0:
            self.labels.append(sample.label > 0)
            self.scores.append(float(prediction["score"]))
        if sample.mask is None:
            return
        bins = _bins(prediction["map"])
        anomalous = (sample.mask > 0) & (sample.mask != VOID)
        self.normal += np.bincount(bins[sample.mask == 0], minlength=BINS)
        if not anomalous.any():
            return
        self.anomalous += np.bincount(bins[anomalous], minlength=BINS)
        count, regions = cv2.connectedComponents(anomalous.astype(np.uint8), connectivity=8)
        shares = 1 / np.maximum(np.bincount(regions.ravel(), minlength=count), 1)
        self.found += np.bincount(bins[anomalous], weights=shares[regions[anomalous]], minlength=BINS)
        self.regions += count - 1

    def result(self):
        labels, scores = np.array(self.labels, bool), np.array(self.scores)
        values, bins = np.unique(scores, return_inverse=True)
        of_images = [np.bincount(bins[labels == kind], minlength=len(values)) for kind in (False, True)]
        return {
            "image_auroc": auroc(*of_images),
            "pixel_auroc": auroc(self.normal, self.anomalous),
            "aupro": self._aupro(),
            "recall": _mean(scores[labels] >= 1),
            "specificity": _mean(scores[~labels] < 1),
        }

    def _aupro(self) -> float:
        if not self.regions or not self.normal.sum():
            return float("nan")
        rates, found = (_above(counts) for counts in (self.normal / self.normal.sum(), self.found / self.regions))
        end = np.interp(FALSE_POSITIVES, rates, found)
        within = rates < FALSE_POSITIVES
        return float(np.trapezoid([*found[within], end], [*rates[within], FALSE_POSITIVES]) / FALSE_POSITIVES)


def auroc(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """The area under the ROC curve from counts of both kinds in the same bins, lowest score first; NaN if one is empty.

    Scores in one bin are equal, and count half.
    """
    if not normal.sum() or not anomalous.sum():
        return float("nan")
    below = np.cumsum(normal) - normal / 2
    return float(below @ anomalous / (normal.sum() * anomalous.sum()))


def _bins(scores):
    positive = np.maximum(np.ascontiguousarray(scores, np.float32), np.float32(0))  # no -0, whose bits are others
    return positive.view(np.int32) >> _DROPPED


def _above(shares):
    """The sums of the shares from each bin on, the highest scores first, beginning with 0."""
    occurring = np.concatenate([[0.0], np.cumsum(shares[::-1])])
    return np.minimum(occurring, 1.0)


def _mean(values) -> float:
    return float(values.mean()) if len(values) else float("nan")
