"""What detectors learn by, anchor for anchor. All in float32."""

from keras import ops


def smooth_l1(targets, outputs, beta: float = 1.0):
    """Girshick 2015 (https://arxiv.org/abs/1504.08083), equation 3: square below `beta`, linear above; elementwise."""
    distance = ops.abs(ops.cast(outputs, "float32") - ops.cast(targets, "float32"))
    return ops.where(distance < beta, 0.5 * distance**2 / beta, distance - 0.5 * beta)


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
