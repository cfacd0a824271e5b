"""Heat maps of keypoints: drawn from points, and read back as points, in one convention for the centers of cells.

Coordinates of a map are continuous, in cells: the first cell spans 0..1 and its center is at 0.5. A point (x, y) of an
image lies at (x / stride, y / stride) of its map. So a mirrored image has the mirrored map, and drawing and reading are
inverses with no shift between them (the unbiased data processing of Huang et al. 2020,
https://arxiv.org/abs/1911.07524, section 3).
"""

import math

from keras import ops

REFINEMENTS = ("dark", "quarter", "none")
FLOOR = 1e-10  # of a heat map's values before the logarithm


def gaussians(points, labeled, size: tuple[int, int], sigma: float):
    """A heat map of each keypoint: 1 at the point, exp(-d² / 2σ²) at a distance of d; of several objects the largest.

    `peaks` is its inverse for points within the map.

    Args:
        points: float32 (B, N, K, 2), x and y in cells.
        labeled: bool (B, N, K); the others are not drawn.
        size: (rows, columns) of the map.
        sigma: in cells.

    Returns:
        float32 (B, rows, columns, K).
    """
    rows, columns = size
    count = points.shape[1]

    def along(length, positions):
        """(B, K, length): a factor of the Gaussian, which is a product of one along each axis."""
        centers = ops.arange(length, dtype="float32") + 0.5
        return ops.exp(-ops.square(centers - ops.expand_dims(positions, -1)) / (2 * sigma**2))

    def add(number, maps):
        point, counted = (ops.take(x, number, axis=1) for x in (points, labeled))
        across = along(columns, point[..., 0]) * ops.cast(ops.expand_dims(counted, -1), "float32")
        down = along(rows, point[..., 1])
        product = ops.expand_dims(ops.swapaxes(down, 1, 2), 2) * ops.expand_dims(ops.swapaxes(across, 1, 2), 1)
        return ops.maximum(maps, product)

    empty = ops.zeros((ops.shape(points)[0], rows, columns, points.shape[2]))
    return add(0, empty) if count == 1 else ops.fori_loop(0, count, add, empty)


def peaks(maps, refinement: str = "dark", sigma: float = 2.0):
    """The highest point of each heat map, more exactly than its cell: float32 (B, K, 3), x and y in cells, and value.

    "dark" fits a Gaussian: at the peak of the map, blurred by the Gaussian of its targets, one Newton step on the
    logarithm (Zhang et al. 2020, https://arxiv.org/abs/1910.06278, section 3.2), which is exact for `gaussians`.
    "quarter" moves a quarter of a cell towards the higher neighbor on each axis (Xiao et al. 2018,
    https://arxiv.org/abs/1804.06208, section 3). "none" gives the cell's center. The value is the map's at the cell.

    Args:
        maps: float32 (B, rows, columns, K).
        refinement: one of these.
        sigma: of the targets, in cells.
    """
    rows, columns, count = maps.shape[1:]
    flat = ops.reshape(maps, (-1, rows * columns, count))
    cells = ops.cast(ops.argmax(flat, axis=1), "int32")
    values = _at(flat, cells)
    row, column = cells // columns, cells % columns
    x, y = (ops.cast(one, "float32") + 0.5 for one in (column, row))
    if refinement != "none" and min(rows, columns) > 2:
        # the stencil stays inside the map; a peak at the border is read from its neighbor
        row, column = ops.clip(row, 1, rows - 2), ops.clip(column, 1, columns - 2)
        if refinement == "dark":
            # not near the border, where a blurred Gaussian is none
            radius = min(math.ceil(2.5 * sigma), (rows - 1) // 2, (columns - 1) // 2)
            inner = [(at > radius) & (at < length - 1 - radius) for at, length in ((row, rows), (column, columns))]
            inner = ops.logical_and(*inner)
            blurred = ops.reshape(_blurred(maps, sigma, radius), (-1, rows * columns, count))

        def value(down, right):
            cells = (row + down) * columns + column + right
            if refinement == "quarter":
                return _at(flat, cells)
            return ops.log(ops.maximum(ops.where(inner, _at(blurred, cells), _at(flat, cells)), FLOOR))

        move = _newton(value) if refinement == "dark" else _quarter(value)
        x, y = (
            ops.cast(at, "float32") + 0.5 + ops.clip(step, -1.5, 1.5)
            for at, step in zip((column, row), move, strict=True)
        )
    return ops.stack([x, y, values], axis=-1)


def _at(flat, cells):
    """(B, K): the values of each map (B, rows · columns, K) in these cells, int32 (B, K)."""
    return ops.squeeze(ops.take_along_axis(flat, ops.expand_dims(cells, 1), axis=1), 1)


def _newton(value):
    """The way from a cell to the top of the quadratic that fits the cell and its eight neighbors."""
    center = value(0, 0)
    slope_x, slope_y = 0.5 * (value(0, 1) - value(0, -1)), 0.5 * (value(1, 0) - value(-1, 0))
    xx, yy = value(0, 1) - 2 * center + value(0, -1), value(1, 0) - 2 * center + value(-1, 0)
    xy = 0.25 * (value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1))
    determinant = xx * yy - xy * xy
    top = ops.logical_and(determinant > 1e-6, xx < 0)  # else the quadratic has none
    safe = ops.where(top, determinant, 1.0)
    x, y = (xy * slope_y - yy * slope_x) / safe, (xy * slope_x - xx * slope_y) / safe
    return ops.where(top, x, 0.0), ops.where(top, y, 0.0)


def _quarter(value):
    return tuple(
        0.25 * ops.sign(value(*after) - value(*before)) for before, after in (((0, -1), (0, 1)), ((-1, 0), (1, 0)))
    )


def _blurred(maps, sigma, radius):
    """The maps blurred by a Gaussian that is cut off at a radius."""
    weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(-radius, radius + 1)]
    return _filtered(maps, [weight / sum(weights) for weight in weights])


def around(maps, cells, radius: int):
    """The sum of each map over the cells around one of them: (B, rows, columns, K) at int32 (B, K) to (B, K).

    Args:
        maps: float32.
        cells: numbered row by row.
        radius: cells on each side; those beyond the border are 0.
    """
    sums = _filtered(maps, [1.0] * (2 * radius + 1))
    return _at(ops.reshape(sums, (-1, maps.shape[1] * maps.shape[2], maps.shape[3])), cells)


def _filtered(maps, weights):
    """The maps under a filter that is the product of these weights along each axis; beyond the border they are 0."""
    count, kernel = maps.shape[-1], ops.convert_to_tensor(weights, "float32")
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        maps = ops.depthwise_conv(maps, ops.tile(ops.reshape(kernel, shape), (1, 1, count, 1)), padding="same")
    return maps


def doubled(maps):
    """Maps (B, rows, columns, K) at twice their size, interpolated between the centers of cells; the border repeats."""
    for axis in (1, 2):
        length = maps.shape[axis]
        before = ops.concatenate([_part(maps, 0, 1, axis), _part(maps, 0, length - 1, axis)], axis=axis)
        after = ops.concatenate([_part(maps, 1, length, axis), _part(maps, length - 1, length, axis)], axis=axis)
        pairs = ops.stack([0.75 * maps + 0.25 * before, 0.75 * maps + 0.25 * after], axis=axis + 1)
        shape = list(maps.shape)
        shape[0], shape[axis] = -1, 2 * length
        maps = ops.reshape(pairs, shape)
    return maps


def _part(maps, start, end, axis):
    return maps[:, start:end] if axis == 1 else maps[:, :, start:end]


def cells_in_boxes(points, boxes, size: int):
    """The cell of a size × size grid over a box that a point lies in, and whether it lies in the box.

    Cells are numbered row by row; a point on the right or lower edge lies in the last cell, as in torchvision.

    Args:
        points: float32 (B, N, K, 2), x and y in pixels.
        boxes: float32 (B, N, 4).
        size: of the grid.

    Returns:
        int32 (B, N, K), 0 outside of the box; bool (B, N, K).
    """
    low, high = (ops.expand_dims(x, 2) for x in (boxes[..., :2], boxes[..., 2:]))
    cells = ops.floor((points - low) * (size / ops.maximum(high - low, 1e-6)))
    cells = ops.where(points == high, size - 1.0, cells)
    inside = ops.all(ops.logical_and(cells >= 0, cells < size), axis=-1)
    inside = ops.logical_and(inside, ops.all(ops.expand_dims(boxes[..., 2:] > boxes[..., :2], 2), axis=-1))
    numbers = ops.cast(cells[..., 1] * size + cells[..., 0], "int32")
    return ops.where(inside, numbers, 0), inside


def boxes_around(points, least: float):
    """The box around the keypoints of a score, or around all if fewer than two have it: (…, K, 3) to float32 (…, 4).

    It is half a pixel larger on each side, so that it is never empty.

    Args:
        points: x, y and score.
        least: the score from which a keypoint counts.
    """
    counted = points[..., 2:] >= least
    counted = ops.logical_or(counted, ops.sum(ops.cast(counted, "int32"), axis=-2, keepdims=True) < 2)
    low = ops.min(ops.where(counted, points[..., :2], float("inf")), axis=-2)
    high = ops.max(ops.where(counted, points[..., :2], -float("inf")), axis=-2)
    return ops.concatenate([low - 0.5, high + 0.5], axis=-1)
