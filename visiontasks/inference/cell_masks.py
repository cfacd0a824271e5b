"""Instance masks from a map that says to whom each cell belongs."""

from collections.abc import Sequence

import numpy as np

from visiontasks.geometry import Placement
from visiontasks.inference.pasting import pasted
from visiontasks.instance_masks import InstanceMasks


def masks_of_cells(
    owners: np.ndarray, segmentation: np.ndarray, numbers: Sequence[int], placement: Placement
) -> InstanceMasks:
    """The masks of these objects in the original image's pixels.

    A pixel belongs to an object if the probabilities of its cells, interpolated between the cells' centers, are at
    least 0.5; other cells count as 0. At the border of the canvas the last cells go on.

    Args:
        owners: int (h, w), the number of the object that a cell belongs to; -1 for none. Cells lie a power of two
            pixels apart, and the first one begins at 0, 0.
        segmentation: float (h, w), the probability of an object.
        numbers: of the objects, N.
        placement: of the image on the canvas that the map spans.
    """
    # the last cells may exceed the canvas
    strides = 2.0 ** np.round(np.log2(np.array(placement.size) / owners.shape))
    owners, segmentation = np.pad(owners, 1, mode="edge"), np.pad(segmentation, 1, mode="edge")
    windows, boxes = [], []
    for number in numbers:
        mine = owners == number
        rows, columns = (np.flatnonzero(mine.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            windows.append(np.zeros((1, 1)))
            boxes.append((0, 0, 1, 1))
            continue
        (top, left), (bottom, right) = (rows[0], columns[0]), (rows[-1] + 1, columns[-1] + 1)
        # with a cell of another one around it: between the two the mask ends
        top, left, bottom, right = top - 1, left - 1, bottom + 1, right + 1
        window = np.zeros((bottom - top, right - left))
        window[1:-1, 1:-1] = np.where(mine, segmentation, 0)[top + 1 : bottom - 1, left + 1 : right - 1]
        windows.append(window)
        boxes.append((left - 1, top - 1, right - 1, bottom - 1))
    corners = np.array(boxes, np.float64).reshape(-1, 4) * np.tile(strides[::-1], 2)
    return pasted(windows, placement.restore_boxes(corners, clip=False), placement.original)
