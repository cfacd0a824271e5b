"""Samples the anchors or proposals that a loss counts, if there are far too many."""

from keras import ops


def balanced(positive, negative, keys, count: int, share: float):
    """Sample at most `count` candidates at random, with a maximum share of positives.

    Ren et al. 2015 (https://arxiv.org/abs/1506.01497), section 3.1.3: 256 anchors per image, half of them positive.

    Args:
        positive, negative: bool (…, A), the candidates.
        keys: float (…, A), a random number for each; the smallest are sampled. Tests can set them.
        count: maximum number of samples.
        share: maximum share of positives.

    Returns:
        Two masks bool (…, A): the sampled positives and negatives.
    """
    positives = smallest(positive, keys, int(count * share))
    left = count - ops.sum(ops.cast(positives, "int32"), axis=-1, keepdims=True)
    return positives, smallest(negative, keys, left)


def smallest(candidates, keys, count):
    """The `count` candidates, a number or int (…, 1), with the smallest keys: bool (…, A)."""
    order = ops.argsort(ops.where(candidates, keys, float("inf")), axis=-1)
    rank = ops.cast(ops.argsort(order, axis=-1), "int32")
    return ops.logical_and(candidates, rank < count)
