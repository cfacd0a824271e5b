"""SimCC: a coordinate as one of many classes along an axis. Targets, and coordinates read back from logits."""

import math

from keras import ops

NEAR = 2.5  # standard deviations of a target around the best class, whose probability is the coordinate's score


def targets(coordinates, count: int, sigma: float):
    """A Gaussian over `count` classes around each coordinate, which sums to 1: (…) in classes to float32 (…, count).

    Class i has its center at i + 0.5. `coordinate` is the inverse of the targets' logarithms.
    """
    centers = ops.arange(count, dtype="float32") + 0.5
    values = -ops.square(centers - ops.expand_dims(coordinates, -1)) / (2 * sigma**2)
    return ops.softmax(values, axis=-1)


def coordinate(logits, sigma: float):
    """The coordinate in classes and its score: (…, C) to float32 (…) and (…).

    The top of the parabola through the logarithms at the best class and its neighbors, exact for `targets`; and the sum
    of the probabilities of the classes near the best one.
    """
    count = logits.shape[-1]
    logits = ops.cast(logits, "float32")
    best = ops.cast(ops.argmax(logits, axis=-1), "int32")
    middle = ops.clip(best, 1, count - 2)
    before, here, after = (
        ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(middle + step, -1), axis=-1), -1) for step in (-1, 0, 1)
    )
    bend = before - 2.0 * here + after
    shift = ops.where(bend < -1e-9, 0.5 * (before - after) / ops.where(bend < -1e-9, bend, -1.0), 0.0)
    near = ops.abs(ops.arange(count, dtype="int32") - ops.expand_dims(best, -1)) <= math.ceil(NEAR * sigma)
    score = ops.sum(ops.where(near, ops.softmax(logits, axis=-1), 0.0), axis=-1)
    return ops.cast(middle, "float32") + 0.5 + ops.clip(shift, -1.5, 1.5), score
