"""Which anchors or proposals learn, where there are far more of them than a loss should count."""

from keras import ops


def balanced(positive, negative, keys, count: int, share: float):
    """A random choice of so many positives at most, and of negatives to fill up.

    Ren et al. 2015 (https://arxiv.org/abs/1506.01497), section 3.1.3: 256 anchors a picture, half of them positive.

    Args:
        positive, negative: bool (…, A), what there is to choose from.
        keys: float (…, A), a random number for each; the smallest are chosen, so that keys decide and tests can.
        count: how many in all, at most.
        share: of positives, at most.

    Returns:
        Two masks bool (…, A): the positives and the negatives chosen.
    """
    positives = smallest(positive, keys, int(count * share))
    left = count - ops.sum(ops.cast(positives, "int32"), axis=-1, keepdims=True)
    return positives, smallest(negative, keys, left)


def smallest(candidates, keys, count):
    """The `count` candidates, a number or int (…, 1), with the smallest keys: bool (…, A)."""
    order = ops.argsort(ops.where(candidates, keys, float("inf")), axis=-1)
    rank = ops.cast(ops.argsort(order, axis=-1), "int32")
    return ops.logical_and(candidates, rank < count)
