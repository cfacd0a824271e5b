"""Losses for independent yes-or-no labels (tags). All in float32, from logits; they count the labeled tags."""

from keras import ops

from visiontasks.losses.reduction import Term, over


def _log_sigmoid(logits):
    return -ops.softplus(-logits)


def binary_cross_entropy(labels, logits, labeled, positive_weight=1.0) -> Term:
    """Binary cross entropy; `positive_weight` (a number, or one per tag) multiplies the loss of the positives."""
    logits = ops.cast(logits, "float32")
    positive = -ops.convert_to_tensor(positive_weight, "float32") * labels * _log_sigmoid(logits)
    return over(positive - (1 - labels) * _log_sigmoid(-logits), labeled)


def focal(labels, logits, labeled, gamma: float = 2.0, alpha: float = 0.25) -> Term:
    """`focal_elements` of the labeled values."""
    return over(focal_elements(labels, logits, gamma, alpha), labeled)


def focal_elements(labels, logits, gamma: float = 2.0, alpha: float = 0.25):
    """Sigmoid focal loss of Lin et al. 2017 (https://arxiv.org/abs/1708.02002), eq. 5; alpha weighs positives."""
    logits = ops.cast(logits, "float32")
    log_p, log_not_p = _log_sigmoid(logits), _log_sigmoid(-logits)
    # powers by their logarithms: below gamma 1, the gradient of a power of 0 is not finite
    positive = -alpha * labels * ops.exp(gamma * log_not_p) * log_p
    negative = -(1 - alpha) * (1 - labels) * ops.exp(gamma * log_p) * log_not_p
    return positive + negative


def asymmetric(
    labels, logits, labeled, gamma_positive: float = 0.0, gamma_negative: float = 4.0, margin: float = 0.05
) -> Term:
    """Asymmetric loss of Ridnik et al. 2021 (https://arxiv.org/abs/2009.14119), eqs. 5 to 7.

    Negatives are focused harder than positives, and those with probability below `margin` are dropped. As in the
    paper's own code (section 2.4 does not say), the focusing weights carry no gradient.
    """
    logits = ops.cast(logits, "float32")
    p = ops.sigmoid(logits)
    shifted = ops.maximum(p - margin, 0.0)
    positive_focus = ops.stop_gradient(ops.power(1 - p, gamma_positive))
    negative_focus = ops.stop_gradient(ops.power(shifted, gamma_negative))
    positive = -labels * positive_focus * _log_sigmoid(logits)
    negative = -(1 - labels) * negative_focus * ops.log(ops.maximum(1 - shifted, 1e-8))
    return over(positive + negative, labeled)
