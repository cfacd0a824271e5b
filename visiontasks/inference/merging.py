"""Merges the boxes of several views of one image, so that each object comes out once."""

import numpy as np

from visiontasks.ops import numpy_boxes

AT_EDGE = 0.01  # of a window's extent: a box that ends nearer to its edge goes on behind it
BLOCK = 64  # boxes that are compared with all others at once: what the pairs of a block take stays small


def merge_boxes(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    windows: np.ndarray,
    seen_in: np.ndarray,
    image_size: tuple[int, int],
    threshold: float = 0.5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The boxes of several views with each object once: greedy non-maximum suppression between views, by class.

    Two boxes of one view are two objects, however much they overlap: the head decided so. Those of different views
    are the same object if they overlap. What lies across a tile's edge is cut off in that tile: a box that ends at
    such an edge is compared where both tiles can see, and comes after those that are whole. An object that no tile
    shows whole is put together from its parts.

    Args:
        boxes: float (N, 4) x1, y1, x2, y2 in the image's pixels.
        scores, classes: (N,).
        windows: float (N, 4) x1, y1, x2, y2, in which each was seen.
        seen_in: integers (N,), the view's number; a window and its mirror image are two views.
        image_size: (height, width).
        threshold: an overlap (IoU) above it, from 0 up, makes two boxes one.

    Returns:
        boxes, scores and classes that are left, best first.
    """
    cut = _cut_off(boxes, windows, image_size)
    order = np.lexsort((-scores, cut))
    boxes, scores, classes, windows, seen_in, cut = (
        np.array(a)[order] for a in (boxes, scores, classes, windows, seen_in, cut)
    )
    kept = [np.zeros(0, int)]
    for number in np.unique(classes):
        rows = np.flatnonzero(classes == number)
        parts = [a[rows] for a in (boxes, scores, windows, seen_in, cut)]
        survivors = _survivors(*parts, image_size, threshold)
        kept.append(rows[survivors])
        boxes[kept[-1]], scores[kept[-1]] = parts[0][survivors], parts[1][survivors]
    kept = np.sort(np.concatenate(kept))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return boxes[kept], scores[kept], classes[kept]


def _survivors(boxes, scores, windows, seen_in, cut, image_size, threshold) -> np.ndarray:
    """Numbers of the boxes of one class that are left; they come in the order of choice, and change where they grow.

    Rows of a block are compared at once with all that is left behind them; only what grows is compared anew.
    """
    left, kept = np.ones(len(boxes), bool), []

    def same(i, j):
        ours = np.where(cut[j, None], numpy_boxes.clip(boxes[i], windows[j]), boxes[i])
        theirs = np.where(cut[i, None], numpy_boxes.clip(boxes[j], windows[i]), boxes[j])
        return numpy_boxes.paired_iou(ours, theirs) > threshold

    for start in range(0, len(boxes), BLOCK):
        rows = start + np.flatnonzero(left[start : start + BLOCK])
        rest = start + np.flatnonzero(left[start:])
        i, j = _overlapping_pairs(boxes[rows], boxes[rest])
        i, j = rows[i], rest[j]
        later = (i < j) & (seen_in[i] != seen_in[j])
        i, j = i[later], j[later]
        matched = same(i, j)
        i, j = i[matched], j[matched]
        order = np.argsort(i, kind="stable")
        ends = np.searchsorted(i[order], rows, side="right").tolist()
        for row, first, last in zip(rows.tolist(), [0, *ends], ends, strict=False):
            if not left[row]:
                continue
            kept.append(row)
            gone = j[order[first:last]]
            gone = gone[left[gone]]
            shown_in = seen_in[[row]]
            while len(gone):
                left[gone] = False
                scores[row] = max(scores[row], scores[gone].max())
                # parts of one object that is whole nowhere; what shows no more of it than this one adds nothing
                further = (windows[gone, :2] < windows[row, :2]) | (windows[gone, 2:] > windows[row, 2:])
                grown = gone[cut[gone] & further.any(axis=1)] if cut[row] else []
                if not len(grown):
                    break
                for array in (boxes, windows):
                    array[row, :2] = np.minimum(array[row, :2], array[grown, :2].min(axis=0))
                    array[row, 2:] = np.maximum(array[row, 2:], array[grown, 2:].max(axis=0))
                cut[row] = _cut_off(boxes[row], windows[row], image_size)
                shown_in = np.union1d(shown_in, seen_in[grown])
                later, box = boxes[row + 1 :], boxes[row]
                overlaps = (later[:, :2] < box[2:]).all(axis=1) & (later[:, 2:] > box[:2]).all(axis=1)
                gone = row + 1 + np.flatnonzero(left[row + 1 :] & overlaps)
                gone = gone[~np.isin(seen_in[gone], shown_in)]
                gone = gone[same(np.full(len(gone), row), gone)]
    return np.array(kept, int)


def _overlapping_pairs(boxes, others) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (P,), (P,) of every pair of a box (N, 4) and another (M, 4) that share some area."""
    i, j = _starting_within(boxes, others, "left")
    more_j, more_i = _starting_within(others, boxes, "right")  # pairs of one left edge are among the first alone
    i, j = np.concatenate([i, more_i]), np.concatenate([j, more_j])
    overlaps = (boxes[i, 1] < others[j, 3]) & (others[j, 1] < boxes[i, 3])
    return i[overlaps], j[overlaps]


def _starting_within(boxes, others, side) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of every pair of a box and another whose left edge lies between the box's edges."""
    order = np.argsort(others[:, 0], kind="stable")
    edges = others[order, 0]
    first = np.searchsorted(edges, boxes[:, 0], side)
    count = np.maximum(np.searchsorted(edges, boxes[:, 2], "left") - first, 0)
    i = np.repeat(np.arange(len(boxes)), count)
    return i, order[np.arange(len(i)) + np.repeat(first - (np.cumsum(count) - count), count)]


def _cut_off(boxes, windows, image_size) -> np.ndarray:
    """bool (…,): whether boxes end at an edge of their windows that is none of the image's."""
    height, width = image_size
    extents = np.tile(windows[..., 2:] - windows[..., :2], 2)
    inner = np.abs(windows - np.float64([0, 0, width, height])) > 0.5
    return ((np.abs(boxes - windows) <= np.maximum(1, AT_EDGE * extents)) & inner).any(axis=-1)
