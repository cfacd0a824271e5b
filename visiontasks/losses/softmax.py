"""Losses over mutually exclusive classes, of images or of pixels. All in float32, from logits."""

import keras
from keras import ops

from visiontasks.losses.reduction import Term, over
from visiontasks.ops import replicas


def _safe(labels, labelled):
    """int32 labels with a valid class where there is none, so that no backend meets an index out of range."""
    return ops.where(labelled, ops.cast(labels, "int32"), 0)


def cross_entropy(labels, logits, labelled, label_smoothing: float = 0.0) -> Term:
    """Softmax cross entropy; it counts what is labelled.

    Args:
        labels: int (...,), 0..C-1 where labelled.
        logits: (..., C).
        labelled: bool (...,).
        label_smoothing: share of the target spread evenly over the classes (Szegedy et al. 2016, section 7).
    """
    logits = ops.cast(logits, "float32")
    values = ops.sparse_categorical_crossentropy(_safe(labels, labelled), logits, from_logits=True)
    if label_smoothing:
        uniform = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        values = (1 - label_smoothing) * values + label_smoothing * uniform
    return over(values, labelled)


def focal(labels, logits, labelled, gamma: float = 2.0) -> Term:
    """Softmax focal loss (1 - p)^gamma * CE, after Lin et al. 2017 (https://arxiv.org/abs/1708.02002), eq. 4."""
    logits = ops.cast(logits, "float32")
    values = ops.sparse_categorical_crossentropy(_safe(labels, labelled), logits, from_logits=True)
    # p = exp(-CE); the floor keeps the power's gradient finite where p rounds to 1
    missing = ops.maximum(1.0 - ops.exp(-values), 1e-6)
    return over(ops.power(missing, gamma) * values, labelled)


def dice(labels, logits, labelled) -> Term:
    """Soft Dice loss; it counts the classes that the batch's labels hold.

    The pixels of the whole batch, over all replicas, are pooled before the ratio, so that a small object in a single
    image does not make it jump. Milletari et al. 2016 (https://arxiv.org/abs/1606.04797), section 3, with
    probabilities unsquared.

    Args:
        labels: int (B, H, W), 0..C-1 where labelled.
        logits: (B, H, W, C).
        labelled: bool (B, H, W).
    """
    counted = ops.cast(labelled, "float32")[..., None]
    truth = ops.one_hot(_safe(labels, labelled), logits.shape[-1], dtype="float32") * counted
    probabilities = ops.softmax(ops.cast(logits, "float32"), axis=-1) * counted
    sums = [ops.sum(x, axis=(0, 1, 2)) for x in (truth * probabilities, truth, probabilities)]
    intersection, of_truth, of_probabilities = ops.unstack(replicas.summed(ops.stack(sums)), num=3)
    ratio = 2.0 * intersection / (of_truth + of_probabilities + keras.config.epsilon())
    total, count = over(1.0 - ratio, of_truth > 0)
    # every replica has the whole batch's
    return Term(total / replicas.number(), count / replicas.number())
