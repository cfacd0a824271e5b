"""Anchors: the reference boxes of a detector. In NumPy, because they depend on shapes alone."""

import math
from collections.abc import Sequence

import numpy as np


def default_boxes(
    grids: Sequence[tuple[int, int]],
    size: tuple[int, int],
    scales: Sequence[float],
    aspect_ratios: Sequence[Sequence[float]],
    steps: Sequence[float] | None = None,
) -> np.ndarray:
    """SSD's default boxes: float32 (A, 4), x1 y1 x2 y2 in pixels; ordered by level, row, column, box of the cell.

    A cell of level k has a square of scale s_k, a square of scale sqrt(s_k s_k+1), and for each aspect ratio r a box of
    s_k sqrt(r) by s_k / sqrt(r) and the same box rotated by 90° (Liu et al. 2016, https://arxiv.org/abs/1512.02325,
    section 2.2). Boxes may exceed the border; none is wider or higher than the image.

    Args:
        grids: (rows, columns) of each level's feature map.
        size: (height, width) of the image.
        scales: box sizes as shares of the image's width and height, one per level and one more.
        aspect_ratios: of each level, above 1.
        steps: pixels between cells at each level; None: the image's size divided by the grid's.

    Raises:
        ValueError: the arguments have different numbers of levels.
    """
    if len(aspect_ratios) != len(grids) or len(scales) != len(grids) + 1 or steps and len(steps) != len(grids):
        raise ValueError(
            f"scales, aspect_ratios, steps: expected {len(grids) + 1}, {len(grids)} and {len(grids)} for {len(grids)} "
            f"levels; got {len(scales)}, {len(aspect_ratios)} and {len(steps) if steps else 'none'}."
        )
    height, width = size
    levels = []
    for k, (rows, columns) in enumerate(grids):
        shares = [(scales[k],) * 2, (math.sqrt(scales[k] * scales[k + 1]),) * 2]
        for ratio in aspect_ratios[k]:
            long, short = scales[k] * math.sqrt(ratio), scales[k] / math.sqrt(ratio)
            shares += [(long, short), (short, long)]
        half = np.clip(np.array(shares), 0, 1) * (width, height) / 2
        step_y, step_x = (steps[k], steps[k]) if steps else (height / rows, width / columns)
        levels.append(_around(rows, columns, step_y, step_x, half))
    return np.concatenate(levels).astype(np.float32)


def grid_anchors(
    grids: Sequence[tuple[int, int]],
    size: tuple[int, int],
    sizes: Sequence[Sequence[float]],
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> np.ndarray:
    """Anchors of region proposals and of RetinaNet: float32 (A, 4), in the order of `default_boxes`.

    Each cell has, for each aspect ratio and each size s, a box of area s² with that height / width (Ren et al. 2015,
    https://arxiv.org/abs/1506.01497, section 3.1.1). As in torchvision, boxes are centered on the cell's top left
    corner, their corners are rounded to whole pixels, and cells are size // grid pixels apart.

    Args:
        grids: (rows, columns) of each level's feature map.
        size: (height, width) of the image.
        sizes: anchor sizes of each level, in pixels.
        aspect_ratios: height / width.

    Raises:
        ValueError: `sizes` has another number of levels.
    """
    if len(sizes) != len(grids):
        raise ValueError(f"sizes: expected {len(grids)} lists, one per level; got {len(sizes)}.")
    levels = []
    for (rows, columns), lengths in zip(grids, sizes, strict=True):
        shapes = [(s / math.sqrt(ratio), s * math.sqrt(ratio)) for ratio in aspect_ratios for s in lengths]
        half = np.round(np.array(shapes) / 2)
        step_y, step_x = size[0] // rows, size[1] // columns
        levels.append(_around(rows, columns, step_y, step_x, half, 0.0))
    return np.concatenate(levels).astype(np.float32)


def anchor_points(grids: Sequence[tuple[int, int]], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The cells' centers and strides, both float32 (A, 2), x and y in pixels, in the order of `default_boxes`.

    The cells divide the image evenly, also if the stride does not divide its width or height: 300 pixels in 38 cells
    are strides of 7.89.

    Args:
        grids: (rows, columns) of each level's feature map.
        size: (height, width) of the image.
    """
    points, strides = [], []
    for rows, columns in grids:
        stride = np.array([size[1] / columns, size[0] / rows])
        points.append(_around(rows, columns, stride[1], stride[0], np.zeros((1, 2)))[:, :2])
        strides.append(np.tile(stride, (rows * columns, 1)))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _around(rows, columns, step_y, step_x, half, shift=0.5) -> np.ndarray:
    """Boxes (rows * columns * len(half), 4) of half sizes (n, 2), around each cell's center (shift 0: its corner)."""
    y, x = np.meshgrid((np.arange(rows) + shift) * step_y, (np.arange(columns) + shift) * step_x, indexing="ij")
    centers = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    return np.concatenate([centers - half, centers + half], axis=-1).reshape(-1, 4)


def number_of_default_boxes(aspect_ratios: Sequence[Sequence[float]]) -> list[int]:
    """Boxes per cell at each level."""
    return [2 + 2 * len(ratios) for ratios in aspect_ratios]
