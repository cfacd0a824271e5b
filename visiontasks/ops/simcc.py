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

    The mean position of the classes near the best one, weighted by their probabilities, and the sum of these.
    """
    count = logits.shape[-1]
    shares = ops.softmax(ops.cast(logits, "float32"), axis=-1)
    best = ops.cast(ops.argmax(shares, axis=-1), "float32")
    classes = ops.arange(count, dtype="float32")
    near = ops.abs(classes - ops.expand_dims(best, -1)) <= math.ceil(NEAR * sigma)
    near = ops.where(near, shares, 0.0)
    score = ops.sum(near, axis=-1)
    return ops.sum(near * (classes + 0.5), axis=-1) / ops.maximum(score, 1e-9), score
