"""How a loss is counted: sums and counts, which the model divides once, over the whole batch."""

from typing import NamedTuple

import keras
from keras import ops


class Term(NamedTuple):
    """One term of a loss over a batch, or over a replica's share of it: two float32 scalars.

    Both add up over replicas and over batches. A batch with nothing to learn from has 0 of both, and no gradient.
    """

    total: object
    count: object

    @property
    def mean(self):
        """The loss: total / count, and the total where the count is below 1."""
        return self.total / ops.maximum(self.count, 1.0)


def over(values, counted) -> Term:
    """The sum of `values` where `counted` is true, and how many those are.

    Args:
        values: float32, any shape; where not counted it may be anything but NaN.
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
