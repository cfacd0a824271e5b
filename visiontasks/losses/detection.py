"""Elementwise losses of detectors. All in float32."""

from keras import ops


def smooth_l1(targets, outputs, beta: float = 1.0):
    """Girshick 2015 (https://arxiv.org/abs/1504.08083), equation 3: square below `beta`, linear above; elementwise."""
    distance = ops.abs(ops.cast(outputs, "float32") - ops.cast(targets, "float32"))
    return ops.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta)


def distribution_focal(targets, logits):
    """Cross entropy between a distribution over integers and a number between two of them; elementwise.

    Li et al. 2020 (https://arxiv.org/abs/2006.04388), equation 6: the cross entropies of the two integers around the
    target, each weighted by its closeness to the target.

    Args:
        targets: float (…,), clipped to 0..N - 1.
        logits: (…, N), of the integers 0 to N - 1.

    Returns:
        float32 (…,).
    """
    logits = ops.cast(logits, "float32")
    last = logits.shape[-1] - 1
    targets = ops.expand_dims(ops.clip(ops.cast(targets, "float32"), 0.0, float(last)), -1)
    # an integer's weight: 1 at the target, decreasing to 0 one step away; so the weights of the two around it sum to 1
    weights = ops.maximum(1.0 - ops.abs(ops.arange(last + 1, dtype="float32") - targets), 0.0)
    return -ops.sum(weights * ops.log_softmax(logits, axis=-1), axis=-1)


def sigmoid_cross_entropy(targets, logits):
    """Binary cross entropy with targets anywhere in 0..1; elementwise float32."""
    logits = ops.cast(logits, "float32")
    return ops.softplus(logits) - ops.cast(targets, "float32") * logits


def over_known_classes(losses, labels, known, ignored):
    """The loss of each anchor, float32 (B, A): the sum over its classes.

    A class that is not known has no background. An ignored anchor has no loss.

    Args:
        losses: float32 (B, A, C), of independent classes.
        labels: (B, A, C), above 0 for an object's class.
        known: bool (B, C), the classes whose objects are all listed.
        ignored: bool (B, A).
    """
    counted = ops.logical_or(ops.expand_dims(known, 1), labels > 0)
    return ops.where(ignored, 0.0, ops.sum(ops.where(counted, losses, 0.0), axis=-1))


def marginal_cross_entropy(labels, logits, known):
    """Softmax cross entropy where background means background or any class that is not known; elementwise.

    An anchor without an object may contain one of a class that is not known: the background's probability is the sum of
    its own and of those classes' probabilities. With all classes known it is the ordinary cross entropy.

    Args:
        labels: int (B, A), 0 background, class + 1 for an object.
        logits: (B, A, C + 1), background first.
        known: bool (B, C), the image's known classes.

    Returns:
        float32 (B, A).
    """
    logits = ops.cast(logits, "float32")
    unknown = ops.pad(ops.logical_not(known), ((0, 0), (1, 0)))
    background = ops.expand_dims(ops.equal(labels, 0), -1)
    meant = ops.one_hot(labels, logits.shape[-1], dtype="bool")
    meant = ops.logical_or(meant, ops.logical_and(background, ops.expand_dims(unknown, 1)))
    return ops.logsumexp(logits, axis=-1) - ops.logsumexp(ops.where(meant, logits, -float("inf")), axis=-1)


def hardest(losses, candidates, count):
    """The candidates with the largest losses in their image.

    Args:
        losses: (B, A).
        candidates: bool (B, A).
        count: number of candidates to choose per image, (B,).

    Returns:
        bool (B, A).
    """
    # a candidate's rank in decreasing order of loss
    losses = ops.stop_gradient(ops.convert_to_tensor(losses, "float32"))
    order = ops.argsort(ops.where(candidates, -losses, float("inf")), axis=-1)
    rank = ops.argsort(order, axis=-1)
    chosen = ops.cast(rank, "float32") < ops.expand_dims(ops.cast(count, "float32"), -1)
    return ops.logical_and(chosen, candidates)
