"""Losses that pull embeddings to a learned proxy of their class. All in float32, from cosine similarities."""

from keras import ops

from visiontasks.losses import softmax
from visiontasks.losses.reduction import Term
from visiontasks.ops import replicas


def proxy_anchor(labels, similarities, labeled, margin: float = 0.1, scale: float = 32.0) -> tuple[Term, Term]:
    """Proxy-anchor loss: its part of the images of a proxy's class, and that of all others.

    Each proxy weighs its images by how hard they are; the sums run over the batch of all replicas. The first term
    counts the classes that occur, the second all of them. Kim et al. 2020 (https://arxiv.org/abs/2003.13911), eq. 4.

    Args:
        labels: int (B,), 0..C-1 where labeled.
        similarities: (B, C), cosines of embeddings and proxies.
        labeled: bool (B,).
        margin: of a cosine, δ in the paper.
        scale: of a cosine, α in the paper.
    """
    similarities = ops.cast(similarities, "float32")
    same = ops.one_hot(ops.where(labeled, ops.cast(labels, "int32"), 0), similarities.shape[-1], dtype="bool")
    own, other = (ops.logical_and(some, labeled[:, None]) for some in (same, ops.logical_not(same)))
    positive = _log_one_plus_sum(-scale * (similarities - margin), own)
    negative = _log_one_plus_sum(scale * (similarities + margin), other)
    occurs = ops.cast(replicas.summed(ops.sum(ops.cast(own, "float32"), axis=0)) > 0, "float32")
    # every replica has the sums of the whole batch
    number, classes = replicas.number(), ops.cast(similarities.shape[-1], "float32") * ops.max(occurs)
    return (
        Term(ops.sum(positive) / number, ops.sum(occurs) / number),
        Term(ops.sum(negative) / number, classes / number),
    )


def _log_one_plus_sum(exponents, counted):
    """log(1 + Σ exp) over the batch of all replicas, (C,), of exponents (B, C) of any size where `counted`."""
    exponents = ops.where(counted, exponents, -float("inf"))
    # the largest is taken out of the sum; the 1 is exp(0)
    largest = replicas.largest(ops.stop_gradient(ops.maximum(ops.max(exponents, axis=0), 0.0)))
    total = replicas.summed(ops.sum(ops.exp(exponents - largest), axis=0))
    return largest + ops.log1p(ops.expm1(-largest) + total)


def proxy_nca(labels, similarities, labeled, temperature: float = 1 / 9) -> Term:
    """Cross entropy over squared distances to the proxies, ProxyNCA++; it counts the labeled images.

    For vectors of length 1 the squared distance is 2 - 2 cos. Teh et al. 2020 (https://arxiv.org/abs/2004.01113),
    eq. 7: unlike Movshovitz-Attias et al. 2017, the image's own proxy is in the denominator, and there is a
    temperature.

    Args:
        labels, similarities, labeled: as for `proxy_anchor`.
        temperature: that divides the distances.
    """
    return softmax.cross_entropy(labels, 2.0 * similarities / temperature, labeled)
