"""A few points near which all others lie: greedy choice of a coreset."""

from keras import ops


def greedy_coreset(points, count: int):
    """The numbers of points chosen one by one, each the one farthest from all that were chosen before; eager.

    Its largest distance from any point to a chosen one is at most twice the least possible for that count (T. Gonzalez
    1985). The first point comes first; of equally far points the first.

    Args:
        points: float32 (N, d).
        count: how many to choose; at most N are.

    Returns:
        int32 (min(count, N),).
    """
    chosen = [0]
    nearest = ops.sum(ops.square(points - points[0]), axis=-1)
    while len(chosen) < min(count, points.shape[0]):
        chosen.append(int(ops.argmax(nearest)))
        nearest = ops.minimum(nearest, ops.sum(ops.square(points - points[chosen[-1]]), axis=-1))
    return ops.convert_to_tensor(chosen, dtype="int32")
