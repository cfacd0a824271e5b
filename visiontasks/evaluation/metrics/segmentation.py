"""`Segmentation`: IoU, Dice and pixel accuracy of semantic masks, from one confusion matrix of all pixels."""

from collections.abc import Sequence

import numpy as np

from visiontasks.evaluation.metrics.confusion import Confusion, by_class, mean_of_defined, ratio
from visiontasks.evaluation.metrics.metric import Metric, check_classes
from visiontasks.sample import VOID

BLOCK = 1 << 18  # pixels counted at once, so that temporary arrays stay small for any image size


class Segmentation(Metric):
    """Scores semantic masks from predictions {"mask": int32 (H, W)} of the target mask's size.

    All pixels of all images form one confusion matrix (as in PASCAL VOC; no mean over images). `result` gives
    "mean_iou" and "dice", unweighted means over the classes that occur as targets or predictions; "pixel_accuracy"; and
    for each class "iou", "dice" and "accuracy" (the share of its pixels that are predicted correctly). A class that
    does not occur has NaN. Pixels whose target is void (255) are not counted, whatever is predicted there.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.confusion = Confusion(self.names)

    def update(self, sample, prediction):
        target, predicted = sample.mask, np.asarray(prediction["mask"])
        if target is None:
            return
        if target.shape != predicted.shape:
            raise ValueError(
                f"mask predicted for {sample.id or sample.path}: expected {target.shape} as the target mask, "
                f"got {predicted.shape}; restore it to the original image's pixels first."
            )
        target, predicted = target.ravel(), predicted.ravel()
        for start in range(0, target.size, BLOCK):
            block, guess = target[start : start + BLOCK], predicted[start : start + BLOCK]
            counted = block != VOID
            if not counted.all():
                block, guess = block[counted], guess[counted]
            if block.size:
                check_classes("mask", sample, block, len(self.names))
                check_classes("mask predicted", sample, guess, len(self.names))
                self.confusion.add(block, guess)

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
