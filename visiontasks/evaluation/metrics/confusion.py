"""`Confusion`: how often each class was taken for which, the counts that class metrics are made of."""

from collections.abc import Sequence

import numpy as np

from visiontasks.drawing.charts import confusion_figure


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, float64; NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def mean_of_defined(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN where nothing is left."""
    values = np.asarray(values)[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def by_class(figure: str, names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """{"figure/NAME": value} for a result."""
    return {f"{figure}/{name}": float(value) for name, value in zip(names, values, strict=True)}


class Confusion:
    """Counts of (true class, predicted class).

    Attributes:
        counts: int64 (C, C), a row for each true class, a column for each predicted one.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.counts = np.zeros((len(self.names),) * 2, np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray):
        """Count pairs, integers of any equal shape, all within 0..C-1."""
        classes = len(self.names)
        pairs = np.multiply(truth, classes, dtype=np.int64)  # bincount counts int64 without another copy
        pairs += predicted
        self.counts += np.bincount(pairs.ravel(), minlength=classes * classes).reshape(classes, classes)

    @property
    def correct(self) -> np.ndarray:
        return np.diagonal(self.counts)

    @property
    def true(self) -> np.ndarray:
        """How often each class was true."""
        return self.counts.sum(axis=1)

    @property
    def predicted(self) -> np.ndarray:
        """How often each class was predicted."""
        return self.counts.sum(axis=0)

    @property
    def accuracy(self) -> float:
        return float(ratio(self.correct.sum(), self.counts.sum()))

    @property
    def f1(self) -> np.ndarray:
        """2 TP / (2 TP + FP + FN) of each class: the Dice coefficient; NaN for a class neither true nor predicted."""
        return ratio(2 * self.correct, self.true + self.predicted)

    @property
    def iou(self) -> np.ndarray:
        """TP / (TP + FP + FN) of each class; NaN for a class neither true nor predicted."""
        return ratio(self.correct, self.true + self.predicted - self.correct)

    def figure(self, title: str):
        """A matplotlib Figure of the matrix, each row as percents of its true class."""
        return confusion_figure(self.counts, self.names, title)
