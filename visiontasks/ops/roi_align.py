"""RoIAlign: features of boxes on a grid of fixed size, from a pyramid of feature maps."""

import functools
import math

import numpy as np
from keras import ops

from visiontasks.ops import boxes as box_ops

CANONICAL_SCALE, CANONICAL_LEVEL = 224, 4  # a box of 224² uses the level of stride 16


def level_of(boxes, lowest: int, highest: int):
    """The pyramid level for a box's features: int32 (…,), `lowest` to `highest`; larger boxes use higher levels.

    Lin et al. 2017 (https://arxiv.org/abs/1612.03144), equation 1: floor(4 + log2(sqrt(area) / 224)).

    Args:
        boxes: (…, 4) in pixels.
        lowest, highest: numbers of the existing levels; level n has stride 2ⁿ.
    """
    scale = ops.sqrt(box_ops.area(boxes))
    octaves = ops.log(ops.maximum(scale / CANONICAL_SCALE, 1e-6)) / math.log(2)
    exact = CANONICAL_LEVEL + octaves + 1e-6  # so that rounding does not move a box of exactly 224² one level down
    return ops.cast(ops.clip(ops.floor(exact), lowest, highest), "int32")


def roi_align(pyramid: dict, boxes, size: int, samples: int = 2, images=None):
    """Features of boxes by bilinear sampling, without rounding the boxes to cells.

    Each box is divided into size × size bins; a bin's value is the mean of samples × samples points in it. He et al.
    2017 (https://arxiv.org/abs/1703.06870), section 3. Coordinates as in torchvision with aligned=False: the first
    cell's value lies at 0, not at half a cell, and a box is at least one cell wide and high. Points more than one cell
    outside of the map are 0. The boxes take no gradient, as in Faster R-CNN (Ren et al. 2015,
    https://arxiv.org/abs/1506.01497, section 3.2).

    Args:
        pyramid: {level number: features (B, H, W, C)}, C the same for all; level n has stride 2ⁿ.
        boxes: (B, N, 4) in pixels, or with `images` (R, 4); each uses the level that `level_of` gives, or the next
            finer existing level.
        size: bins per row and column, S.
        samples: points per row and column of a bin.
        images: int32 (R,), the row of the batch that each box is in; by default the boxes' first axis is the batch.

    Returns:
        (B, N, S, S, C), or (R, S, S, C), in the features' dtype; positions and sums are always computed in float32.
    """
    if images is None:
        images = ops.repeat(ops.arange(ops.shape(boxes)[0], dtype="int32"), boxes.shape[1])
        flat = roi_align(pyramid, ops.reshape(boxes, (-1, 4)), size, samples, images)
        return ops.reshape(flat, (-1, boxes.shape[1], *flat.shape[1:]))
    boxes, levels = ops.stop_gradient(ops.cast(boxes, "float32")), sorted(pyramid)
    maps = [pyramid[level] for level in levels]
    heights, widths = ([m.shape[axis] for m in maps] for axis in (1, 2))
    starts = np.cumsum([0] + [h * w for h, w in zip(heights, widths, strict=True)])[:-1]
    channels = maps[0].shape[-1]
    # float32: the gradient of one cell is a sum over thousands of points, which half precision cannot accumulate
    table = [ops.reshape(ops.cast(m, "float32"), (-1, m.shape[1] * m.shape[2], channels)) for m in maps]
    table = ops.concatenate(table, axis=1)

    wanted = level_of(boxes, levels[0], levels[-1]) - levels[0]
    nearest = [sum(level <= n for level in levels) - 1 for n in range(levels[0], levels[-1] + 1)]
    index = ops.take(ops.convert_to_tensor(nearest, "int32"), wanted)

    def of_level(values, dtype):
        return ops.take(ops.convert_to_tensor(np.array(values), dtype), index)

    stride = of_level([2.0**level for level in levels], "float32")
    corners = boxes / ops.expand_dims(stride, -1)
    down = _points(corners[..., 1], corners[..., 3], of_level(heights, "int32"), size, samples)
    across = _points(corners[..., 0], corners[..., 2], of_level(widths, "int32"), size, samples)
    # by point of a bin, (samples, samples, R, S, S): y and rows, x and columns
    top, bottom, below, inside_y = (ops.reshape(x, (samples, 1, -1, size, 1)) for x in down)
    left, right, after, inside_x = (ops.reshape(x, (1, samples, -1, 1, size)) for x in across)
    width, start = (ops.reshape(x, (-1, 1, 1)) for x in (of_level(widths, "int32"), of_level(starts, "int32")))
    # all maps of a batch in one table, so that one gather reads whole feature vectors
    cells = int(sum(h * w for h, w in zip(heights, widths, strict=True)))
    start = start + cells * ops.reshape(images, (-1, 1, 1))
    shape = (samples * samples, -1, size, size)
    rows = [ops.reshape(start + row * width + column, shape) for row in (top, bottom) for column in (left, right)]
    square = ops.ones((samples, samples, 1, size, size), "float32")
    shares = [ops.expand_dims(ops.reshape(x * square, shape), -1) for x in (below, after, inside_y * inside_x)]
    return ops.cast(_mean_of_points(ops.reshape(table, (-1, channels)), rows, shares), maps[0].dtype)


def _mean_of_points(table, rows, shares):
    """The mean over P points of the values between four rows of a table (T, C): float32 (R, S, S, C).

    One point of every bin at a time, because all points of all boxes would take gigabytes. The gradient is summed point
    by point too: the one that backends derive holds all rows of all points at once.

    Args:
        rows: of the upper left, upper right, lower left and lower right neighbors: int32 (P, R, S, S) each.
        shares: of the lower and of the right neighbor, and 1 inside of the map or 0: float32 (P, R, S, S, 1) each.
    """
    (count, channels), (points, _, *bins) = ops.shape(table), rows[0].shape

    def value(table, cells, below, after, inside):
        a, b, c, d = (ops.take(table, cell, axis=0) for cell in cells)
        above = a + (b - a) * after
        return (above + (c + (d - c) * after - above) * below) * inside

    def gradient(upstream, cells, below, after, inside):
        shares = [down * across * inside for down in (1 - below, below) for across in (1 - after, after)]
        values = ops.stack([upstream * share for share in shares])
        return ops.segment_sum(ops.reshape(values, (-1, channels)), ops.reshape(ops.stack(cells), (-1,)), count)

    def mean(start, term, given):
        """A running mean: TensorFlow adds up the terms of a sum in an order that differs between runs."""

        def further(number, found):
            *cells, below, after, inside = (ops.take(x, number, axis=0) for x in given)
            share = 1.0 / ops.cast(number + 1, "float32")
            return found + (term(cells, below, after, inside) - found) * share

        return ops.fori_loop(0, points, further, start)

    @ops.custom_gradient
    def of_points(table, *given):  # arguments all: JAX does not see what a function closes over
        def grad(*args, upstream=None):  # backends differ in how they call it
            upstream = args[0] if upstream is None else upstream
            slopes = mean(ops.zeros_like(table), functools.partial(gradient, upstream), given)
            return slopes, *[None] * len(given)

        start = ops.zeros((ops.shape(given[0])[1], *bins, channels), "float32")
        return mean(start, functools.partial(value, table), given), grad

    return of_points(table, *rows, *shares)


def _points(low, high, length, size, samples):
    """Points along one axis, (samples, R, size): lower and upper neighbor, the upper's share, 1 inside or 0."""
    extent = ops.maximum(high - low, 1.0)
    steps = ((np.arange(size * samples) + 0.5) / (size * samples)).reshape(size, samples).T[:, None]
    points = ops.expand_dims(low, -1) + ops.expand_dims(extent, -1) * ops.convert_to_tensor(steps, "float32")
    length = ops.expand_dims(length, -1)
    limit = ops.cast(length, "float32")
    inside = ops.cast(ops.logical_and(points >= -1.0, points <= limit), "float32")
    points = ops.clip(points, 0.0, limit - 1)
    lower = ops.cast(ops.floor(points), "int32")
    upper = ops.minimum(lower + 1, length - 1)
    share = points - ops.cast(lower, "float32")
    return lower, upper, share, inside
