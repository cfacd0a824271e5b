"""Local maxima of heat maps, more exact than a cell."""

from keras import ops

from visiontasks.ops import nms

LEAST = 1e-10  # of a value whose logarithm is taken; networks may answer 0 or less


def local_maxima(maps, count: int, threshold: float, stride: int, window: int = 3):
    """The best local maxima of each channel, each where the Gaussian through its cell and the neighbors is highest.

    A maximum is a cell that no cell of the window around it exceeds. Equal cells within a window of each other are one
    maximum; they are none if one of them is beside a higher cell.

    The logarithm of a Gaussian is a quadratic function, so three cells of a row and three of a column give the center
    of sampled Gaussians exactly, at the border too, where the three nearest cells are taken (the idea of Zhang et al.
    2020, https://arxiv.org/abs/1910.06278, section 3.2, without their smoothing). A quarter of a cell towards the
    higher neighbor, the usual step, would be wrong by up to a quarter of a cell.

    Args:
        maps: (B, h, w, K), with at least 3 rows and columns.
        count: P, of each channel.
        threshold: only higher cells count; at least 0.
        stride: pixels a cell.
        window: rows and columns, an odd number.

    Returns:
        float32 (B, K, P, 3), best first: x and y in pixels of the image, and the score, which is the cell's value. What
        is missing is 0.

    Raises:
        ValueError: the window is even, or the maps are too small.
    """
    height, width, channels = maps.shape[1:]
    if window % 2 == 0:
        raise ValueError(f"window: expected an odd number, got {window}.")
    if min(height, width) < 3:
        raise ValueError(f"maps: expected at least 3 rows and columns, got {height} x {width}.")
    maps = ops.cast(maps, "float32")
    shape = (-1, channels, height * width)
    values = ops.where(_is_maximum(maps, threshold, window), maps, -float("inf"))
    scores, cells = nms.best(ops.reshape(ops.transpose(values, (0, 3, 1, 2)), shape), count)
    logarithms = ops.reshape(ops.transpose(ops.log(ops.maximum(maps, LEAST)), (0, 3, 1, 2)), shape)
    rows, columns = cells // width, cells % width

    def refined(positions, length, step):
        """The center along one axis, in cells; a neighbor's number is larger by `step`."""
        middle = ops.clip(positions, 1, length - 2)
        start = cells + (middle - positions) * step
        before, here, after = (ops.take_along_axis(logarithms, start + i * step, axis=-1) for i in (-1, 0, 1))
        bend = before - 2.0 * here + after
        offset = ops.where(bend < 0, 0.5 * (before - after) / ops.where(bend < 0, bend, -1.0), 0.0)
        offset = offset + ops.cast(middle - positions, "float32")
        # at the border the vertex of an upward parabola is no maximum
        offset = ops.where(bend < 0, ops.clip(offset, -0.5, 0.5), 0.0)
        return (ops.cast(positions, "float32") + 0.5 + offset) * stride

    found = ops.stack([refined(columns, width, 1), refined(rows, height, width), scores], axis=-1)
    return ops.where(ops.expand_dims(scores > -float("inf"), -1), found, 0.0)


def _is_maximum(maps, threshold, window):
    """bool (B, h, w, K): one cell of each maximum."""

    def highest(x):
        return ops.max_pool(x, window, strides=1, padding="same", data_format="channels_last")

    height, width = maps.shape[1:3]
    candidate = ops.logical_and(maps == highest(maps), maps > threshold)
    # candidates in a window of each other are equal; the largest number among them spreads over all of them, and the
    # one that has it stays. A larger one yet, which no cell has, spreads from the side of a plateau that rises.
    rising = highest(ops.where(candidate, threshold, maps)) == maps
    numbers = ops.reshape(ops.arange(height * width, dtype="float32"), (1, height, width, 1))
    own = ops.where(candidate, numbers, -1.0)
    first = ops.where(ops.logical_and(candidate, rising), float(height * width), own)

    def spread(labels):
        return ops.where(candidate, highest(labels), -1.0)

    def step(labels, before):
        return spread(labels), labels

    labels, _ = ops.while_loop(lambda labels, before: ops.any(labels != before), step, (spread(first), first))
    return ops.logical_and(candidate, labels == own)
