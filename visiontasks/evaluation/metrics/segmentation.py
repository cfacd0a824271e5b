"""`Segmentation`: IoU, Dice and pixel accuracy of semantic masks, from one confusion matrix over all pixels."""

from collections.abc import Sequence

import numpy as np

from visiontasks.errors import DataError
from visiontasks.evaluation.metrics.confusion import Confusion, by_class, mean_of_defined, ratio
from visiontasks.evaluation.metrics.metric import Metric
from visiontasks.sample import VOID

BLOCK = 1 << 18  # pixels counted at once: the temporary arrays stay small however large the picture


class Segmentation(Metric):
    """Scores semantic masks from predictions {"mask": int32 (H, W)} of the truth's size.

    All pixels of all pictures go into one confusion matrix (PASCAL VOC's way; no mean over pictures). `result` gives
    "mean_iou" and "dice", plain means over the classes that are true or predicted somewhere; "pixel_accuracy"; and for
    each class "iou", "dice" and "accuracy" (the share of its pixels that were found). A class that does not occur has
    NaN. Pixels whose truth is void (255) count nowhere, whatever is predicted there.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.confusion = Confusion(self.names)

    def update(self, sample, prediction):
        truth, predicted = sample.mask, np.asarray(prediction["mask"])
        if truth is None:
            return
        if truth.shape != predicted.shape:
            raise ValueError(
                f"mask predicted for {sample.id or sample.path}: expected {truth.shape} as the truth, "
                f"got {predicted.shape}; restore it to the original picture's pixels first."
            )
        truth, predicted = truth.ravel(), predicted.ravel()
        for start in range(0, truth.size, BLOCK):
            block, guess = truth[start : start + BLOCK], predicted[start : start + BLOCK]
            counted = block != VOID
            if not counted.all():
                block, guess = block[counted], guess[counted]
            if block.size:
                self._check("mask", sample, block)
                self._check("mask predicted", sample, guess)
                self.confusion.add(block, guess)

    def _check(self, what, sample, values):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= len(self.names):
            raise DataError(
                f"{what} of {sample.id or sample.path}: expected classes 0..{len(self.names) - 1} or {VOID} (void), "
                f"got {low if low < 0 else high}; evaluate on data with the classes that the model was trained for."
            )

    def result(self):
        counts = self.confusion
        return {
            "mean_iou": mean_of_defined(counts.iou),
            "dice": mean_of_defined(counts.f1),
            "pixel_accuracy": counts.accuracy,
            **by_class("iou", self.names, counts.iou),
            **by_class("dice", self.names, counts.f1),
            **by_class("accuracy", self.names, ratio(counts.correct, counts.true)),
        }

    def charts(self):
        return {"confusion": self.confusion.figure("pixels of each class, % predicted as")}
