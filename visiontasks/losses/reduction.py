"""Sums and counts of losses, which the model divides once, over the whole batch."""

from typing import NamedTuple

import keras
from keras import ops

PENALTY = "regularization"  # the model's term of the regularizers


class Term(NamedTuple):
    """One term of a loss for a batch, or for a replica's share of it: two float32 scalars.

    Both add up over replicas and over batches. For a batch without labels both are 0, without a gradient.
    """

    total: object
    count: object

    @property
    def mean(self):
        """The loss: total / count, or the total if the count is below 1: no labels, or weights near 0, as in YOLOv8."""
        return self.total / ops.maximum(self.count, 1.0)


def over(values, counted) -> Term:
    """The sum of `values` where `counted` is true, and the number of those values.

    Args:
        values: float32, any shape; where not counted, anything but NaN.
        counted: bool, the same shape.
    """
    return Term(ops.sum(ops.where(counted, values, 0.0)), ops.sum(ops.cast(counted, "float32")))


class TermMean(keras.metrics.Metric):
    """A term over all batches since the last reset: the sum of totals over the sum of counts."""

    def __init__(self, name: str, **kwargs):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, total, count):
        self.total.assign_add(ops.cast(total, self.dtype))
        self.count.assign_add(ops.cast(count, self.dtype))

    def result(self):
        return Term(self.total, self.count).mean
