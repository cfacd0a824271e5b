"""What detectors learn by, anchor for anchor. All in float32."""

from keras import ops


def smooth_l1(targets, outputs, beta: float = 1.0):
    """Girshick 2015 (https://arxiv.org/abs/1504.08083), equation 3: square below `beta`, linear above; elementwise."""
    distance = ops.abs(ops.cast(outputs, "float32") - ops.cast(targets, "float32"))
    return ops.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta)


def distribution_focal(targets, logits):
    """How far a distribution over whole numbers is from saying a number between two of them; elementwise.

    Li et al. 2020 (https://arxiv.org/abs/2006.04388), equation 6: the cross-entropies of the two whole numbers around
    the target, each weighted by how near it is.

    Args:
        targets: float (…,), cut to 0..N - 1.
        logits: (…, N), of the numbers 0 to N - 1.

    Returns:
        float32 (…,).
    """
    logits = ops.cast(logits, "float32")
    last = logits.shape[-1] - 1
    targets = ops.expand_dims(ops.clip(ops.cast(targets, "float32"), 0.0, float(last)), -1)
    # a number's weight: 1 at the target, falling to 0 one step away; so the two around it have weights that sum to 1
    weights = ops.maximum(1.0 - ops.abs(ops.arange(last + 1, dtype="float32") - targets), 0.0)
    return -ops.sum(weights * ops.log_softmax(logits, axis=-1), axis=-1)


def sigmoid_cross_entropy(targets, logits):
    """Of probabilities 0..1, not only of 0 and 1; elementwise float32."""
    logits = ops.cast(logits, "float32")
    return ops.softplus(logits) - ops.cast(targets, "float32") * logits


def marginal_cross_entropy(labels, logits, known):
    """Softmax cross entropy where background means background or any class that is not known; elementwise.

    Where nothing is to be found, a class that is not known may be there all the same: the background's probability is
    the sum of its own and of those classes' probabilities. With all classes known it is the plain cross entropy.

    Args:
        labels: int (B, A), 0 background, class + 1 for an object.
        logits: (B, A, C + 1), the first of the background.
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
    """Which of the candidates have the largest losses in their picture.

    Args:
        losses: (B, A).
        candidates: bool (B, A).
        count: how many of each picture, (B,).

    Returns:
        bool (B, A).
    """
    # a candidate's rank: at which place of the falling order it stands
    losses = ops.stop_gradient(ops.convert_to_tensor(losses, "float32"))
    order = ops.argsort(ops.where(candidates, -losses, float("inf")), axis=-1)
    rank = ops.argsort(order, axis=-1)
    chosen = ops.cast(rank, "float32") < ops.expand_dims(ops.cast(count, "float32"), -1)
    return ops.logical_and(chosen, candidates)
