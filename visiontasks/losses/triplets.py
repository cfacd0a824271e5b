"""Losses that compare images of a batch with each other, without proxies. In float32, from cosine similarities."""

from keras import ops

from visiontasks.losses.reduction import Term, over


def semi_hard(labels, embeddings, labeled, margin: float = 0.2) -> Term:
    """Triplet loss with semi-hard negatives; it counts the pairs of an anchor and a positive that have a negative.

    For each two images of one class, the negative is the nearest image of another class that is farther from the anchor
    than the positive is, or, if all are nearer, the farthest. Schroff, Kalenichenko and Philbin 2015
    (https://arxiv.org/abs/1503.03832), equation 3 and section 3.2: squared distances, whose gradient is finite at 0,
    unlike that of distances. Every replica compares the images of its own share of a batch. The memory grows with the
    cube of the batch: 64 MB for 256 images.

    Args:
        labels: int (B,), 0..C-1 where labeled.
        embeddings: float32 (B, D) of length 1.
        labeled: bool (B,).
        margin: of squared distances, which are at most 4; α in the paper.
    """
    distances = 2.0 - 2.0 * ops.matmul(embeddings, ops.transpose(embeddings))
    labels = ops.cast(labels, "int32")
    both = ops.logical_and(labeled[:, None], labeled)
    same = ops.equal(labels[:, None], labels)
    numbers = ops.arange(ops.shape(labels)[0])
    positive = ops.logical_and(ops.logical_and(both, same), ops.not_equal(numbers[:, None], numbers))
    negative = ops.logical_and(both, ops.logical_not(same))
    beyond = 5.0  # more than any distance
    to_others = distances[:, None, :]  # [anchor, positive, negative]
    farther = ops.logical_and(negative[:, None, :], to_others > distances[:, :, None])
    nearest = ops.min(ops.where(farther, to_others, beyond), axis=2)
    farthest = ops.max(ops.where(negative, distances, -beyond), axis=1, keepdims=True)
    chosen = ops.where(ops.any(farther, axis=2), nearest, farthest)
    values = ops.relu(distances - chosen + margin)
    return over(values, ops.logical_and(positive, ops.any(negative, axis=1, keepdims=True)))
