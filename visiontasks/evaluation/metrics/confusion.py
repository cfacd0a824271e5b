"""`Confusion`: a confusion matrix of classes, from which class metrics are computed."""

from collections.abc import Sequence

import numpy as np

from visiontasks.drawing.charts import confusion_figure, outcomes_figure


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, float64; NaN where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def mean_of_defined(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    values = np.asarray(values)[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def by_class(metric: str, names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """{"metric/NAME": value} for a result."""
    return {f"{metric}/{name}": float(value) for name, value in zip(names, values, strict=True)}


class Confusion:
    """Counts of (true class, predicted class).

    Attributes:
        counts: int64 (C, C), one row per true class, one column per predicted class.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.counts = np.zeros((len(self.names),) * 2, np.int64)

    def add(self, targets: np.ndarray, predicted: np.ndarray):
        """Count pairs of classes, integers of equal shape, all within 0..C-1."""
        classes = len(self.names)
        pairs = np.multiply(targets, classes, dtype=np.int64)  # bincount counts int64 without another copy
        pairs += predicted
        self.counts += np.bincount(pairs.ravel(), minlength=classes * classes).reshape(classes, classes)

    @property
    def correct(self) -> np.ndarray:
        return np.diagonal(self.counts)

    @property
    def true(self) -> np.ndarray:
        """How often each class is the target."""
        return self.counts.sum(axis=1)

    @property
    def predicted(self) -> np.ndarray:
        """How often each class is predicted."""
        return self.counts.sum(axis=0)

    @property
    def accuracy(self) -> float:
        return float(ratio(self.correct.sum(), self.counts.sum()))

    @property
    def f1(self) -> np.ndarray:
        """2 TP / (2 TP + FP + FN) of each class, the Dice coefficient; NaN for a class that does not occur."""
        return ratio(2 * self.correct, self.true + self.predicted)

    @property
    def iou(self) -> np.ndarray:
        """TP / (TP + FP + FN) of each class; NaN for a class that does not occur."""
        return ratio(self.correct, self.true + self.predicted - self.correct)

    def figure(self, title: str):
        """A matplotlib Figure of the matrix, or of one class, with which it has one cell, the TP, FP and FN."""
        if len(self.names) == 1:
            return outcomes_figure(int(self.correct[0]), 0, 0, title)
        return confusion_figure(self.counts, self.names, title)
