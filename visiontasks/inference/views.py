"""One picture seen several times, in tiles and mirrored, and how the boxes of all views become one answer."""

import dataclasses
import math

import numpy as np

from visiontasks.geometry import Placement
from visiontasks.ops import numpy_boxes

AT_EDGE = 0.01  # of a window's side: a box that ends nearer to its edge goes on behind it
BLOCK = 64  # boxes that are compared with all others at once: what the pairs of a block take stays small


@dataclasses.dataclass(frozen=True)
class View:
    """A window of a picture as the network sees it.

    Args:
        picture: (height, width) of the whole picture.
        window: (top, left, bottom, right) in its pixels.
        size: (height, width) of the network's canvas.
        mode: how the window lies on it, a mode of `visiontasks.geometry.Placement`.
        flipped: mirrored from left to right.
    """

    picture: tuple[int, int]
    window: tuple[int, int, int, int]
    size: tuple[int, int]
    mode: str
    flipped: bool = False

    @property
    def placement(self) -> Placement:
        """How the window lies on the canvas."""
        top, left, bottom, right = self.window
        return Placement((bottom - top, right - left), self.size, self.mode)

    def see(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) of the whole picture to the canvas, uint8 (*size, 3)."""
        top, left, bottom, right = self.window
        image = image[top:bottom, left:right]
        return self.placement.place_image(np.ascontiguousarray(image[:, ::-1]) if self.flipped else image)

    def boxes_back(self, boxes: np.ndarray) -> np.ndarray:
        """float32 (N, 4) x1, y1, x2, y2 in the window's pixels, as `placement` restores them, to the picture's."""
        top, left, _, right = self.window
        if self.flipped:
            boxes = np.stack([right - left - boxes[:, 2], boxes[:, 1], right - left - boxes[:, 0], boxes[:, 3]], axis=1)
        return boxes + np.float32([left, top, left, top])

    def map_back(self, values: np.ndarray) -> np.ndarray:
        """(h, w, …) over the window, mirrored back where it was mirrored."""
        return values[:, ::-1] if self.flipped else values


def views(
    picture: tuple[int, int],
    size: tuple[int, int],
    mode: str,
    tile: int | None = None,
    overlap: float = 0.2,
    flip: bool = False,
) -> list[View]:
    """The views of a picture: it as a whole, or tiles that cover it; each a second time mirrored if `flip`.

    Args:
        picture: (height, width).
        size, mode: as `View` takes them.
        tile: side of a tile in pixels of the picture; a side that is not longer is not divided.
        overlap: the least share of a tile that its neighbour shows too; an object of up to that size is whole in one.
        flip: whether each is seen mirrored, too.
    """
    rows, columns = (_starts(side, tile, overlap) for side in picture)
    height, width = (min(side, tile or side) for side in picture)
    windows = [(top, left, top + height, left + width) for top in rows for left in columns]
    return [
        View(tuple(picture), window, tuple(size), mode, mirrored)
        for window in windows
        for mirrored in ((False, True) if flip else (False,))
    ]


def _starts(side, tile, overlap):
    """Where tiles begin along a side: evenly, and the last one ends with the side."""
    if tile is None or side <= tile:
        return [0]
    most = max(1, math.floor(tile * (1 - overlap)))
    count = 1 + math.ceil((side - tile) / most)
    return [round(i * (side - tile) / (count - 1)) for i in range(count)]


def merge_boxes(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    windows: np.ndarray,
    seen_in: np.ndarray,
    picture: tuple[int, int],
    threshold: float = 0.5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One answer out of the boxes of several views: greedy non-maximum suppression between views, by class.

    Two boxes of one view are two objects, however much they overlap: the head decided so. Those of different views
    are the same object if they overlap. What lies across a tile's edge is cut off in that tile: a box that ends at
    such an edge is compared where both tiles can see, and comes after those that are whole. An object that no tile
    shows whole is put together from its parts.

    Args:
        boxes: float (N, 4) x1, y1, x2, y2 in the picture's pixels.
        scores, classes: (N,).
        windows: float (N, 4) x1, y1, x2, y2, in which each was seen.
        seen_in: integers (N,), the view's number; a window and its mirror image are two views.
        picture: (height, width).
        threshold: an overlap (IoU) above it, from 0 up, makes two boxes one.

    Returns:
        boxes, scores and classes that are left, best first.
    """
    cut = _cut_off(boxes, windows, picture)
    order = np.lexsort((-scores, cut))
    boxes, scores, classes, windows, seen_in, cut = (
        np.array(a)[order] for a in (boxes, scores, classes, windows, seen_in, cut)
    )
    kept = [np.zeros(0, int)]
    for number in np.unique(classes):
        rows = np.flatnonzero(classes == number)
        parts = [a[rows] for a in (boxes, scores, windows, seen_in, cut)]
        found = _survivors(*parts, picture, threshold)
        kept.append(rows[found])
        boxes[kept[-1]], scores[kept[-1]] = parts[0][found], parts[1][found]
    kept = np.sort(np.concatenate(kept))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return boxes[kept], scores[kept], classes[kept]


def _survivors(boxes, scores, windows, seen_in, cut, picture, threshold) -> np.ndarray:
    """Numbers of the boxes of one class that are left; they come in the order of choice, and change where they grow.

    Rows of a block are compared at once with all that is left behind them; only what grows is compared anew.
    """
    left, kept = np.ones(len(boxes), bool), []

    def same(i, j):
        mine = np.where(cut[j, None], numpy_boxes.clip(boxes[i], windows[j]), boxes[i])
        theirs = np.where(cut[i, None], numpy_boxes.clip(boxes[j], windows[i]), boxes[j])
        return numpy_boxes.paired_iou(mine, theirs) > threshold

    for start in range(0, len(boxes), BLOCK):
        rows = start + np.flatnonzero(left[start : start + BLOCK])
        rest = start + np.flatnonzero(left[start:])
        i, j = _meeting(boxes[rows], boxes[rest])
        i, j = rows[i], rest[j]
        asked = (i < j) & (seen_in[i] != seen_in[j])
        i, j = i[asked], j[asked]
        found = same(i, j)
        i, j = i[found], j[found]
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
                cut[row] = _cut_off(boxes[row], windows[row], picture)
                shown_in = np.union1d(shown_in, seen_in[grown])
                later, box = boxes[row + 1 :], boxes[row]
                meets = (later[:, :2] < box[2:]).all(axis=1) & (later[:, 2:] > box[:2]).all(axis=1)
                gone = row + 1 + np.flatnonzero(left[row + 1 :] & meets)
                gone = gone[~np.isin(seen_in[gone], shown_in)]
                gone = gone[same(np.full(len(gone), row), gone)]
    return np.array(kept, int)


def _meeting(boxes, others) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (P,), (P,) of every pair of a box (N, 4) and another (M, 4) that share some area."""
    i, j = _begun_within(boxes, others, "left")
    more_j, more_i = _begun_within(others, boxes, "right")  # pairs of one left edge are among the first alone
    i, j = np.concatenate([i, more_i]), np.concatenate([j, more_j])
    meets = (boxes[i, 1] < others[j, 3]) & (others[j, 1] < boxes[i, 3])
    return i[meets], j[meets]


def _begun_within(boxes, others, side) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of every pair of a box and another whose left edge lies between the box's edges."""
    order = np.argsort(others[:, 0], kind="stable")
    edges = others[order, 0]
    first = np.searchsorted(edges, boxes[:, 0], side)
    count = np.maximum(np.searchsorted(edges, boxes[:, 2], "left") - first, 0)
    i = np.repeat(np.arange(len(boxes)), count)
    return i, order[np.arange(len(i)) + np.repeat(first - (np.cumsum(count) - count), count)]


def _cut_off(boxes, windows, picture) -> np.ndarray:
    """bool (…,): whether boxes end at an edge of their windows that is none of the picture's."""
    height, width = picture
    sides = np.tile(windows[..., 2:] - windows[..., :2], 2)
    inner = np.abs(windows - np.float64([0, 0, width, height])) > 0.5
    return ((np.abs(boxes - windows) <= np.maximum(1, AT_EDGE * sides)) & inner).any(axis=-1)
