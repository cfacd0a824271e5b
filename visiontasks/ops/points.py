"""Values at points of feature maps and of small grids, and the points that a mask is least certain of."""

from keras import ops

OVERSAMPLED, UNCERTAIN = 3, 0.75  # of the points that are learned: Kirillov et al. 2020, section 4


def at_points(features, positions, images):
    """A feature map's values at points, interpolated between the cells' centers; outside those at the border.

    Args:
        features: (B, H, W, C).
        positions: float32 (R, P, 2), x and y in cells: the first cell spans 0..1.
        images: int32 (R,), the row of the batch that the points are in.

    Returns:
        float32 (R, P, C).
    """
    height, width, channels = features.shape[1:]
    start = ops.reshape(images * (height * width), (-1, 1))
    table = ops.reshape(features, (-1, channels))
    return _interpolated(
        lambda cells: ops.cast(ops.take(table, start + cells, axis=0), "float32"), positions, (height, width)
    )


def in_channels(fields, positions, channels):
    """As `at_points`, of fields of vectors in which each point reads a channel of its own.

    Args:
        fields: (B, H, W, F, D).
        positions: float32 (B, P, 2), x and y in cells: the first cell spans 0..1.
        channels: int32 (B, P) or (P,), 0..F-1.

    Returns:
        float32 (B, P, D), with gradients for the fields and the positions.
    """
    height, width, count, length = fields.shape[1:]
    start = ops.reshape(ops.arange(ops.shape(fields)[0], dtype="int32") * (height * width), (-1, 1))
    table = ops.reshape(fields, (-1, length))
    return _interpolated(
        lambda cells: ops.cast(ops.take(table, (start + cells) * count + channels, axis=0), "float32"),
        positions,
        (height, width),
    )


def at_cells(grids, positions, border: bool = True):
    """As `at_points`, of grids (R, S, S), one for each row of points: (R, P). Without `border` it is 0 outside."""
    size = tuple(grids.shape[1:3])
    values = ops.reshape(grids, (-1, size[0] * size[1]))
    found = _interpolated(
        lambda cells: ops.expand_dims(ops.take_along_axis(values, cells, axis=1), -1), positions, size
    )[..., 0]
    if border:
        return found
    inside = ops.logical_and(positions >= 0, positions <= ops.convert_to_tensor(size[::-1], "float32"))
    return ops.where(ops.all(inside, axis=-1), found, 0.0)


def _interpolated(read, positions, size):
    """(R, P, C): bilinear between the four cells around each position; `read` gives those of int32 (R, P) numbers."""
    height, width = size
    axes = []
    for position, length in ((positions[..., 0], width), (positions[..., 1], height)):
        position = ops.clip(position - 0.5, 0.0, length - 1.0)
        lower = ops.cast(ops.floor(position), "int32")
        share = ops.expand_dims(position - ops.cast(lower, "float32"), -1)
        axes.append((lower, ops.minimum(lower + 1, length - 1), share))
    (left, right, across), (top, bottom, down) = axes
    a, b, c, d = (read(row * width + column) for row in (top, bottom) for column in (left, right))
    above = a + (b - a) * across
    return above + (c + (d - c) * across - above) * down


def to_learn(logits, keys, count: int):
    """Random points of boxes, most of them where a mask is least certain: float32 (R, count, 2), x and y in 0..1.

    Kirillov et al. 2020 (https://arxiv.org/abs/1912.08193), section 3.1: of `OVERSAMPLED` times as many random points
    the share `UNCERTAIN` that is nearest to a logit of 0, the rest as they come.

    Args:
        logits: (R, S, S).
        keys: float32 (R, OVERSAMPLED · count, 2), random numbers in 0..1.
        count: of the points.
    """
    nearest = int(count * UNCERTAIN)
    certainty = ops.abs(at_cells(logits, keys * logits.shape[1]))
    _, chosen = ops.top_k(-certainty, nearest)
    chosen = ops.take_along_axis(keys, ops.expand_dims(ops.cast(chosen, "int32"), -1), axis=1)
    # the last ones are as random as any
    return ops.stop_gradient(ops.concatenate([chosen, keys[:, keys.shape[1] - (count - nearest) :]], axis=1))


def least_certain(logits, count: int):
    """The cells nearest to a logit of 0: int32 (R, count), their numbers row by row, and (R, count, 2), their centers.

    Args:
        logits: (R, S, S).
        count: at most S².
    """
    size = logits.shape[1]
    _, cells = ops.top_k(-ops.abs(ops.reshape(logits, (-1, size * size))), count)
    cells = ops.cast(cells, "int32")
    centers = ops.stack([cells % size, cells // size], axis=-1)
    return cells, (ops.cast(centers, "float32") + 0.5) / size


def with_values(grids, cells, values):
    """Grids (R, S, S) with new values (R, P) in the cells of these numbers, int32 (R, P), each named once."""
    count = grids.shape[1] * grids.shape[2]
    flat = ops.reshape(grids, (-1,))
    start = ops.reshape(ops.arange(ops.shape(grids)[0], dtype="int32") * count, (-1, 1))
    rows = ops.reshape(start + cells, (-1, 1))
    return ops.reshape(ops.scatter_update(flat, rows, ops.reshape(values, (-1,))), ops.shape(grids))
