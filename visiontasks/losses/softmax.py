"""Losses over mutually exclusive classes: of whole pictures, or of pixels. All in float32, from logits."""

import keras
from keras import ops

from visiontasks.losses.reduction import masked_mean


def _safe(labels, labelled):
    """int32 labels with a valid class where there is none, so that no backend meets an index out of range."""
    return ops.where(labelled, ops.cast(labels, "int32"), 0)


def cross_entropy(labels, logits, labelled, label_smoothing: float = 0.0):
    """Softmax cross entropy, averaged over what is labelled.

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
    return masked_mean(values, labelled)


def focal(labels, logits, labelled, gamma: float = 2.0):
    """Softmax focal loss (1 - p)^gamma * CE, after Lin et al. 2017 (https://arxiv.org/abs/1708.02002), eq. 4."""
    logits = ops.cast(logits, "float32")
    values = ops.sparse_categorical_crossentropy(_safe(labels, labelled), logits, from_logits=True)
    # p = exp(-CE); the floor keeps the power's gradient finite where p rounds to 1
    missing = ops.maximum(1.0 - ops.exp(-values), 1e-6)
    return masked_mean(ops.power(missing, gamma) * values, labelled)


def dice(labels, logits, labelled):
    """Soft Dice loss, the mean over the classes that the batch's labels hold; 0 where nothing is labelled.

    Pixels of the whole batch are pooled before the ratio, so that small objects of single pictures do not make it
    jump. Milletari et al. 2016 (https://arxiv.org/abs/1606.04797), section 3, with probabilities unsquared.

    Args:
        labels: int (B, H, W), 0..C-1 where labelled.
        logits: (B, H, W, C).
        labelled: bool (B, H, W).
    """
    counted = ops.cast(labelled, "float32")[..., None]
    truth = ops.one_hot(_safe(labels, labelled), logits.shape[-1], dtype="float32") * counted
    shares = ops.softmax(ops.cast(logits, "float32"), axis=-1) * counted
    per_class = keras.losses.dice(truth, shares, axis=(0, 1, 2))
    return masked_mean(per_class, ops.sum(truth, axis=(0, 1, 2)) > 0)
