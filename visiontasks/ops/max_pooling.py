"""Max pooling that remembers where each maximum was, and its inverse, which puts values back there."""

from keras import ops


def max_positions(features, size: int):
    """Where the maximum of each window lies, in the windows' own numbering.

    The windows do not overlap. Those at the bottom and the right may be cut: a row that they miss is none's.

    Args:
        features: float (B, H, W, C).
        size: width and height of a window.

    Returns:
        int32 (B, ⌈H / size⌉, ⌈W / size⌉, C), 0 to size² - 1, row by row; of equal values the first.
    """
    x = ops.stop_gradient(_windows(features, size))
    largest = ops.max(x, axis=(2, 4), keepdims=True)
    numbers = ops.where(x == largest, _numbers(size), size * size)
    return ops.min(numbers, axis=(2, 4))


def max_unpool(features, positions, size: int):
    """Each value at its position in a window, and zeros around it.

    Zeiler and Fergus 2014 (https://arxiv.org/abs/1311.2901), section 2.1.

    Args:
        features: (B, h, w, C).
        positions: int32 (B, h, w, C), as `max_positions` gives them.
        size: width and height of a window.

    Returns:
        (B, h * size, w * size, C).
    """
    x, positions = (ops.expand_dims(ops.expand_dims(one, 3), 2) for one in (features, positions))
    spread = ops.where(positions == _numbers(size), x, ops.zeros((), x.dtype))
    height, width, channels = features.shape[1:]
    return ops.reshape(spread, (-1, height * size, width * size, channels))


def _windows(features, size):
    """(B, h, size, w, size, C): a map cut into windows, with -inf where the last ones reach over the border."""
    height, width, channels = features.shape[1:]
    more = [(-length) % size for length in (height, width)]
    if any(more):
        features = ops.pad(features, [[0, 0], [0, more[0]], [0, more[1]], [0, 0]], constant_values=-float("inf"))
    rows, columns = (-(-length // size) for length in (height, width))
    return ops.reshape(features, (-1, rows, size, columns, size, channels))


def _numbers(size):
    """0 to size² - 1, shaped to the windows of `_windows`."""
    return ops.reshape(ops.arange(size * size, dtype="int32"), (1, 1, size, 1, size, 1))
