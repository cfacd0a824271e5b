"""COCO's run lengths: the lengths of a mask's runs of zeros and ones, column after column, compressed to text."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from visiontasks.polygons import cut_far


def lengths_of(text: bytes | str) -> np.ndarray | None:
    """int64 (R,): the run lengths in COCO's compressed text; None if it is damaged.

    A character has five bits of a number and whether more follow; from the third run on a number is the difference to
    the run two before.
    """
    text = text.encode() if isinstance(text, str) else text
    bits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(bits & 32 == 0)
    if not len(bits) or ends[-1:].tolist() != [len(bits) - 1] or (bits < 0).any() or (bits >= 64).any():
        return None
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > 7:  # more than 32 bits
        return None
    starts = ends - lengths + 1
    runs = np.add.reduceat((bits & 31) << 5 * (np.arange(len(bits)) - np.repeat(starts, lengths)), starts)
    runs -= np.where(bits[ends] & 16, 1 << 5 * lengths, 0)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs


def decoded(masks: Sequence[dict]) -> list[tuple[int, int, np.ndarray]]:
    """(left, top, uint8 pixels of the smallest window) of masks of one size, without the rest of their image.

    Args:
        masks: compressed run lengths {"size", "counts"}; "lengths" may have what `lengths_of` their text gives.
    """
    if not masks:
        return []
    height, _ = masks[0]["size"]
    left, top, width, rows = coco_mask.toBbox(list(masks)).astype(np.int64).T
    lengths = [mask["lengths"] if "lengths" in mask else lengths_of(mask["counts"]) for mask in masks]
    counts = np.array(list(map(len, lengths)))
    # where each run ends in its own mask, cut to the columns of the window
    ends = np.cumsum(np.concatenate(lengths), dtype=np.int64)
    last = np.cumsum(counts)
    before = np.concatenate([[0], ends[last - 1]])
    ends = np.clip(ends - np.repeat(before[:-1], counts), *np.repeat([left, left + width], counts, axis=1) * height)
    first = last - counts
    runs = np.diff(ends, prepend=0)
    runs[first] = ends[first] - left * height
    parity = np.arange(len(ends)) - np.repeat(first, counts) & 1
    pixels = np.repeat(parity.astype(np.uint8), runs)
    stops = np.cumsum(width * height)
    windows = (pixels[i:j] for i, j in zip([0, *stops.tolist()], stops.tolist(), strict=False))
    return [
        (x, y, np.ascontiguousarray(window.reshape(w, height)[:, y : y + h].T))
        for window, x, y, w, h in zip(windows, left.tolist(), top.tolist(), width.tolist(), rows.tolist(), strict=True)
    ]


def encoded(left: int, top: int, pixels: np.ndarray, size: tuple[int, int]) -> dict:
    """The compressed run lengths of a window of an image of `size`, without the pixels of the rest."""
    (height, width), (rows, columns) = size, pixels.shape
    strip = np.zeros((columns, height), np.uint8)
    strip[:, top : top + rows] = pixels.T
    edges = np.flatnonzero(np.diff(strip.ravel(), prepend=0, append=0)) + left * height
    counts = np.diff(np.concatenate([[0], edges, [height * width]]))
    counts = counts if counts[-1] else counts[:-1]
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)


def of_polygons(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> dict:
    """The union of polygons (P, 2), with the pixels that COCO gives them."""
    polygons = [cut_far(polygon, size) for polygon in polygons]
    flat = [polygon.ravel().tolist() for polygon in polygons if len(polygon) > 2]
    if not flat:
        return coco_mask.encode(np.zeros(size, np.uint8, order="F"))
    return coco_mask.merge(coco_mask.frPyObjects(flat, *size))
