"""Instance masks of an image from masks on grids over boxes, object by object: never N whole images."""

from collections.abc import Sequence

import numpy as np

from visiontasks.instance_masks import InstanceMasks
from visiontasks.mask_shapes import Patch

THRESHOLD = 0.5  # the probability from which a pixel belongs to an object


def pasted(
    masks: Sequence[np.ndarray],
    boxes: np.ndarray,
    size: tuple[int, int],
    threshold: float = THRESHOLD,
    whole_pixels: bool = False,
) -> InstanceMasks:
    """The pixels whose probability is at least the threshold, interpolated between the cells' centers.

    By default a pixel has the value at its center, and a cell beyond the border of the grid is 0, as in Detectron2. The
    older rule, which torchvision has, first moves the box to whole pixels: it is for comparing with torchvision.

    Args:
        masks: float (N, S, S), or N arrays (S, T), probabilities.
        boxes: float (N, 4) in pixels, not empty.
        size: (height, width) of the image.
        threshold: see above.
        whole_pixels: the older rule.
    """
    rule = _of_whole_pixels if whole_pixels else _of_centers
    patches = []
    for mask, box in zip(masks, np.asarray(boxes, np.float64), strict=True):
        mask = np.asarray(mask, np.float32)
        (top, down), (left, across) = (
            rule(box[axis], box[axis + 2], mask.shape[1 - axis], size[1 - axis]) for axis in (1, 0)
        )
        pixels = (down @ mask @ across.T >= threshold).astype(np.uint8)
        patches.append(Patch(left, top, pixels).tight())
    return InstanceMasks(patches, size)


def _of_centers(low, high, cells, length):
    """The first pixel of a box along one axis, and float32 (P, S): each pixel's value as a sum of cells."""
    first, last = (int(np.clip(edge, 0, length)) for edge in (np.floor(low), np.ceil(high)))
    positions = (np.arange(first, last) + 0.5 - low) / (high - low) * cells - 0.5
    return first, np.maximum(1 - np.abs(positions[:, None] - np.arange(cells)), 0).astype(np.float32)


def _of_whole_pixels(low, high, cells, length):
    """As `_of_centers`: a cell of zeros is added around the grid, and the larger box cut to whole pixels."""
    grown = (high - low) / 2 * (cells + 2) / cells
    start, end = int((low + high) / 2 - grown), int((low + high) / 2 + grown)
    count = max(end - start + 1, 1)
    positions = np.clip((np.arange(count) + 0.5) * (cells + 2) / count - 0.5, 0, cells + 1)
    shares = np.maximum(1 - np.abs(positions[:, None] - np.arange(cells + 2)), 0).astype(np.float32)[:, 1:-1]
    first, last = (int(np.clip(edge, 0, length)) for edge in (start, start + count))
    return first, shares[first - start : last - start]
