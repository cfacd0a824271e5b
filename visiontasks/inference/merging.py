"""Merges the boxes of several views of one image, so that each object has one box."""

import numpy as np

from visiontasks.ops import numpy_boxes

AT_EDGE = 0.01  # a box that ends nearer to a window's edge, as a share of the window, is cut off there
BLOCK = 64  # boxes compared with all others at once, to limit memory


def merge_boxes(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    windows: np.ndarray,
    seen_in: np.ndarray,
    image_size: tuple[int, int],
    threshold: float = 0.5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge the boxes of several views by greedy non-maximum suppression between views, by class.

    Boxes of one view are never merged: the head has done its own suppression. Boxes of different views are the same
    object if they overlap. A box that is cut off at a tile's edge is compared inside the area that both tiles show, and
    ranks after whole boxes. An object that no tile shows whole is assembled from its parts.

    Args:
        boxes: float (N, 4) x1, y1, x2, y2 in the image's pixels.
        scores, classes: (N,).
        windows: float (N, 4) x1, y1, x2, y2, the window of each box's view.
        seen_in: integers (N,), the view's index; a window and its mirror image are two views.
        image_size: (height, width).
        threshold: boxes with a higher IoU are merged.

    Returns:
        the merged boxes, scores and classes, best first.
    """
    cut = cut_off(boxes, windows, image_size)
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
    """The indices of the boxes of one class that remain, in order of selection; boxes that grow are changed in place.

    A block of boxes is compared with all later ones at once; only boxes that grow are compared again.
    """
    left, kept = np.ones(len(boxes), bool), []

    def same(i, j):
        ours = np.where(cut[j, None], numpy_boxes.clip(boxes[i], windows[j]), boxes[i])
        theirs = np.where(cut[i, None], numpy_boxes.clip(boxes[j], windows[i]), boxes[j])
        return numpy_boxes.paired_iou(ours, theirs) > threshold

    for start in range(0, len(boxes), BLOCK):
        rows = start + np.flatnonzero(left[start : start + BLOCK])
        rest = start + np.flatnonzero(left[start:])
        i, j = overlapping_pairs(boxes[rows], boxes[rest])
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
                # parts of an object that no view shows whole; a part that shows nothing new adds nothing
                further = (windows[gone, :2] < windows[row, :2]) | (windows[gone, 2:] > windows[row, 2:])
                grown = gone[cut[gone] & further.any(axis=1)] if cut[row] else []
                if not len(grown):
                    break
                for array in (boxes, windows):
                    array[row, :2] = np.minimum(array[row, :2], array[grown, :2].min(axis=0))
                    array[row, 2:] = np.maximum(array[row, 2:], array[grown, 2:].max(axis=0))
                cut[row] = cut_off(boxes[row], windows[row], image_size)
                shown_in = np.union1d(shown_in, seen_in[grown])
                later, box = boxes[row + 1 :], boxes[row]
                overlaps = (later[:, :2] < box[2:]).all(axis=1) & (later[:, 2:] > box[:2]).all(axis=1)
                gone = row + 1 + np.flatnonzero(left[row + 1 :] & overlaps)
                gone = gone[~np.isin(seen_in[gone], shown_in)]
                gone = gone[same(np.full(len(gone), row), gone)]
    return np.array(kept, int)


def overlapping_pairs(boxes, others) -> tuple[np.ndarray, np.ndarray]:
    """The indices (P,), (P,) of all overlapping pairs of boxes (N, 4) and others (M, 4)."""
    i, j = _starting_within(boxes, others, "left")
    more_j, more_i = _starting_within(others, boxes, "right")  # pairs with equal left edges are in the first list only
    i, j = np.concatenate([i, more_i]), np.concatenate([j, more_j])
    overlaps = (boxes[i, 1] < others[j, 3]) & (others[j, 1] < boxes[i, 3])
    return i[overlaps], j[overlaps]


def _starting_within(boxes, others, side) -> tuple[np.ndarray, np.ndarray]:
    """The indices of all pairs in which the other box's left edge lies between the box's left and right edges."""
    order = np.argsort(others[:, 0], kind="stable")
    edges = others[order, 0]
    first = np.searchsorted(edges, boxes[:, 0], side)
    count = np.maximum(np.searchsorted(edges, boxes[:, 2], "left") - first, 0)
    i = np.repeat(np.arange(len(boxes)), count)
    return i, order[np.arange(len(i)) + np.repeat(first - (np.cumsum(count) - count), count)]


def cut_off(boxes, windows, image_size) -> np.ndarray:
    """bool (…,): whether boxes end at an edge of their window that is not an edge of the image."""
    return cut_edges(boxes, windows, image_size).any(axis=-1)


def cut_edges(boxes, windows, image_size) -> np.ndarray:
    """bool (…, 4): at which edges x1, y1, x2, y2 of their window boxes are cut off, those of the image left out."""
    height, width = image_size
    extents = np.tile(windows[..., 2:] - windows[..., :2], 2)
    inner = np.abs(windows - np.float64([0, 0, width, height])) > 0.5
    return (np.abs(boxes - windows) <= np.maximum(1, AT_EDGE * extents)) & inner
