"""What a proposal sees of its object's mask, and a feature map of all, from the crops that a batch has."""

import numpy as np
from keras import ops


def mask_targets(crops, boxes, regions, size: int):
    """The share of each cell of a region that an object's mask covers, on a grid of size × size.

    He et al. 2017 (https://arxiv.org/abs/1703.06870), section 3.1: the target is the intersection of a region with the
    mask of its object. A crop gives the mask on a grid over the object's box, and both grids are parallel, so the exact
    mean over a cell is a product of two small matrices: there is no sampling.

    Args:
        crops: uint8 (B, N, M, M), 0 or 1, the mask of each region's object on a grid over the object's box.
        boxes: float32 (B, N, 4) in pixels, that box.
        regions: float32 (B, N, 4) in pixels. As in torchvision, each counts as at least a pixel wide and high.
        size: cells per row and column, S.

    Returns:
        float32 (B, N, S, S), 0..1; 0 outside of the object's box. Undefined for an object without a mask.
    """
    return _covered(crops, boxes, regions, (size, size))


def coverage(crops, boxes, size, stride: float):
    """The share of each cell of a map that each object's mask covers, exactly.

    Args:
        crops: uint8 (B, N, M, M), 0 or 1 on a grid over the object's box; 255 where an object has no mask.
        boxes: float32 (B, N, 4) in pixels, that box.
        size: (h, w) of the map, whose first cell begins at 0, 0.
        stride: pixels from one cell to the next.

    Returns:
        float32 (B, N, h, w), 0..1; 0 for an object without a mask.
    """
    extent = ops.convert_to_tensor([0.0, 0.0, size[1] * stride, size[0] * stride], "float32")
    return _covered(crops, boxes, ops.reshape(extent, (1, 1, 4)), size)


def cells_in(boxes, chosen, size, stride: float):
    """bool (B, h, w): the cells of a map whose centers lie in one of the chosen boxes.

    Args:
        boxes: float32 (B, N, 4) in pixels.
        chosen: bool (B, N).
        size: (h, w) of the map, whose first cell begins at 0, 0.
        stride: pixels from one cell to the next.
    """
    inside = []
    for axis, length in ((1, size[0]), (0, size[1])):
        centers = (ops.arange(length, dtype="float32") + 0.5) * stride
        low, high = (ops.expand_dims(boxes[..., side], -1) for side in (axis, axis + 2))
        inside.append(ops.logical_and(centers >= low, centers <= high))
    rows = ops.cast(ops.logical_and(inside[0], ops.expand_dims(chosen, -1)), "float32")
    return ops.matmul(ops.swapaxes(rows, 1, 2), ops.cast(inside[1], "float32")) > 0.5


def _covered(crops, boxes, regions, size):
    count, boxes, regions = crops.shape[-1], ops.cast(boxes, "float32"), ops.cast(regions, "float32")
    down, across = (_shares(boxes, regions, axis, length, count) for axis, length in zip((1, 0), size, strict=True))
    values = ops.cast(ops.equal(crops, 1), "float32")
    return ops.matmul(ops.matmul(down, values), ops.swapaxes(across, -1, -2))


def _shares(boxes, regions, axis, size, count):
    """float32 (B, N, S, M): the share of a region's cell along one axis that each cell of the box's grid covers."""
    start, end = boxes[..., axis], boxes[..., axis + 2]
    low, high = regions[..., axis], regions[..., axis + 2]
    high = ops.maximum(high, low + 1.0)
    scale = count / ops.maximum(end - start, 1e-6)  # cells of the box's grid in a pixel; padding has an empty box
    low, extent = ops.expand_dims((low - start) * scale, -1), ops.expand_dims((high - low) * scale / size, -1)
    lower = ops.expand_dims(low + extent * np.arange(size, dtype="float32"), -1)
    upper = lower + ops.expand_dims(extent, -1)
    cells = np.arange(count, dtype="float32")
    covered = ops.minimum(upper, cells + 1.0) - ops.maximum(lower, cells)
    return ops.maximum(covered, 0.0) / ops.expand_dims(extent, -1)
