"""Anchors: the boxes that a detector's answers are differences from. NumPy, for they depend on shapes alone."""

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
    """SSD's default boxes: float32 (A, 4), x1 y1 x2 y2 in pixels; level by level, row by row, cell by cell.

    A cell of level k has a square of scale s_k, one of sqrt(s_k s_k+1), and for each aspect ratio r a box of
    s_k sqrt(r) by s_k / sqrt(r) and the same box upright (Liu et al. 2016, https://arxiv.org/abs/1512.02325, section
    2.2). They may reach over the border; no side is longer than the picture's.

    Args:
        grids: (rows, columns) of each level's feature map.
        size: (height, width) of the picture.
        scales: sides as shares of the picture's, one for each level and one more.
        aspect_ratios: of each level, above 1.
        steps: pixels from one cell to the next at each level; None: the picture's side divided by the grid's.

    Raises:
        ValueError: levels of another number.
    """
    if len(aspect_ratios) != len(grids) or len(scales) != len(grids) + 1 or steps and len(steps) != len(grids):
        raise ValueError(
            f"scales, aspect_ratios, steps: expected {len(grids) + 1}, {len(grids)} and {len(grids)} for {len(grids)} "
            f"levels; got {len(scales)}, {len(aspect_ratios)} and {len(steps) if steps else 'none'}."
        )
    height, width = size
    levels = []
    for k, (rows, columns) in enumerate(grids):
        sides = [(scales[k],) * 2, (math.sqrt(scales[k] * scales[k + 1]),) * 2]
        for ratio in aspect_ratios[k]:
            long, short = scales[k] * math.sqrt(ratio), scales[k] / math.sqrt(ratio)
            sides += [(long, short), (short, long)]
        half = np.clip(np.array(sides), 0, 1) * (width, height) / 2
        step_y, step_x = (steps[k], steps[k]) if steps else (height / rows, width / columns)
        levels.append(_around(rows, columns, step_y, step_x, half))
    return np.concatenate(levels).astype(np.float32)


def grid_anchors(
    grids: Sequence[tuple[int, int]],
    size: tuple[int, int],
    sides: Sequence[Sequence[float]],
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> np.ndarray:
    """Anchors of region proposals and RetinaNet: float32 (A, 4), in the order of `default_boxes`.

    Each cell has, for each ratio and each side s, a box of area s² and height over width the ratio (Ren et al. 2015,
    https://arxiv.org/abs/1506.01497, section 3.1.1). As in torchvision they lie around the cell's first corner, their
    own corners rounded to whole pixels, and cells are size // grid pixels apart.

    Args:
        grids: (rows, columns) of each level's feature map.
        size: (height, width) of the picture.
        sides: of each level, in pixels.
        aspect_ratios: height over width.

    Raises:
        ValueError: levels of another number.
    """
    if len(sides) != len(grids):
        raise ValueError(f"sides: expected {len(grids)} lists, one a level; got {len(sides)}.")
    levels = []
    for (rows, columns), own in zip(grids, sides, strict=True):
        shapes = [(side / math.sqrt(ratio), side * math.sqrt(ratio)) for ratio in aspect_ratios for side in own]
        half = np.round(np.array(shapes) / 2)
        step_y, step_x = size[0] // rows, size[1] // columns
        levels.append(_around(rows, columns, step_y, step_x, half, 0.0))
    return np.concatenate(levels).astype(np.float32)


def anchor_points(grids: Sequence[tuple[int, int]], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The cells' centres and their strides, both float32 (A, 2), x and y in pixels, in the order of `default_boxes`.

    A cell is as large as the picture's share that falls to it, so that cells cover a picture whose sides no stride
    divides: 300 pixels in 38 cells are strides of 7.89.

    Args:
        grids: (rows, columns) of each level's feature map.
        size: (height, width) of the picture.
    """
    points, strides = [], []
    for rows, columns in grids:
        stride = np.array([size[1] / columns, size[0] / rows])
        points.append(_around(rows, columns, stride[1], stride[0], np.zeros((1, 2)))[:, :2])
        strides.append(np.tile(stride, (rows * columns, 1)))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _around(rows, columns, step_y, step_x, half, shift=0.5) -> np.ndarray:
    """Boxes (rows * columns * len(half), 4) of half sides (n, 2), around each cell's centre (shift 0: its corner)."""
    y, x = np.meshgrid((np.arange(rows) + shift) * step_y, (np.arange(columns) + shift) * step_x, indexing="ij")
    centres = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    return np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4)


def number_of_default_boxes(aspect_ratios: Sequence[Sequence[float]]) -> list[int]:
    """Boxes a cell at each level."""
    return [2 + 2 * len(ratios) for ratios in aspect_ratios]
