"""Losses for mutually exclusive classes, of images or of pixels. All in float32, from logits."""

import keras
from keras import ops

from visiontasks.losses.reduction import Term, over
from visiontasks.ops import replicas


def _safe(labels, labeled):
    """int32 labels with class 0 where unlabeled, so that no backend gets an index out of range."""
    return ops.where(labeled, ops.cast(labels, "int32"), 0)


def cross_entropy(labels, logits, labeled, label_smoothing: float = 0.0) -> Term:
    """Softmax cross entropy; it counts the labeled values.

    Args:
        labels: int (...,), 0..C-1 where labeled.
        logits: (..., C).
        labeled: bool (...,).
        label_smoothing: share of the target spread evenly over the classes (Szegedy et al. 2016, section 7).
    """
    logits = ops.cast(logits, "float32")
    values = ops.sparse_categorical_crossentropy(_safe(labels, labeled), logits, from_logits=True)
    if label_smoothing:
        uniform = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        values = (1 - label_smoothing) * values + label_smoothing * uniform
    return over(values, labeled)


def focal(labels, logits, labeled, gamma: float = 2.0) -> Term:
    """Softmax focal loss (1 - p)^gamma * CE, after Lin et al. 2017 (https://arxiv.org/abs/1708.02002), eq. 4."""
    logits = ops.cast(logits, "float32")
    values = ops.sparse_categorical_crossentropy(_safe(labels, labeled), logits, from_logits=True)
    # p = exp(-CE); the lower bound keeps the power's gradient finite where p rounds to 1
    missing = ops.maximum(1.0 - ops.exp(-values), 1e-6)
    return over(ops.power(missing, gamma) * values, labeled)


def dice(labels, logits, labeled) -> Term:
    """Soft Dice loss; it counts the classes that occur in the batch's labels.

    The pixels of the whole batch, over all replicas, are pooled before the ratio, so that a small object in a single
    image does not make it jump. Milletari et al. 2016 (https://arxiv.org/abs/1606.04797), section 3, with
    probabilities unsquared.

    Args:
        labels: int (B, H, W), 0..C-1 where labeled.
        logits: (B, H, W, C).
        labeled: bool (B, H, W).
    """
    counted = ops.cast(labeled, "float32")[..., None]
    targets = ops.one_hot(_safe(labels, labeled), logits.shape[-1], dtype="float32") * counted
    probabilities = ops.softmax(ops.cast(logits, "float32"), axis=-1) * counted
    sums = [ops.sum(x, axis=(0, 1, 2)) for x in (targets * probabilities, targets, probabilities)]
    intersection, of_targets, of_probabilities = ops.unstack(replicas.summed(ops.stack(sums)), num=3)
    ratio = 2.0 * intersection / (of_targets + of_probabilities + keras.config.epsilon())
    total, count = over(1.0 - ratio, of_targets > 0)
    # every replica has the sums of the whole batch
    return Term(total / replicas.number(), count / replicas.number())
