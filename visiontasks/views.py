"""One picture seen several times, in tiles and mirrored, and how the boxes of all views become one answer."""

import dataclasses
import math

import numpy as np

from visiontasks.geometry import Placement
from visiontasks.ops import numpy_boxes

AT_EDGE = 0.01  # of a window's side: a box that ends nearer to its edge goes on behind it


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
    picture: tuple[int, int],
    threshold: float = 0.5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One answer out of the boxes of several views: greedy non-maximum suppression within each class.

    Two boxes of one window are the same object if they overlap, as ever. What lies across a tile's edge is cut off in
    that tile: a box that ends at such an edge is compared where both tiles can see, and comes after those that are
    whole. An object that no tile shows whole is put together from its parts.

    Args:
        boxes: float (N, 4) x1, y1, x2, y2 in the picture's pixels.
        scores, classes: (N,).
        windows: float (N, 4) x1, y1, x2, y2, in which each was seen.
        picture: (height, width).
        threshold: an overlap (IoU) above it makes two boxes one.

    Returns:
        boxes, scores and classes that are left, best first.
    """
    cut = _cut_off(boxes, windows, picture)
    order = np.lexsort((-scores, cut))
    boxes, scores, classes, windows, cut = (np.array(a[order]) for a in (boxes, scores, classes, windows, cut))
    left, kept = np.ones(len(boxes), bool), []
    for i in range(len(boxes)):
        if not left[i]:
            continue
        kept.append(i)
        grows = True
        while grows:
            rest = i + 1 + np.flatnonzero(left[i + 1 :] & (classes[i + 1 :] == classes[i]))
            mine = np.where(cut[rest, None], numpy_boxes.clip(boxes[i], windows[rest]), boxes[i])
            theirs = numpy_boxes.clip(boxes[rest], windows[i]) if cut[i] else boxes[rest]
            same = rest[numpy_boxes.paired_iou(mine, theirs) > threshold]
            left[same] = False
            scores[i] = scores[[i, *same]].max()
            # parts of one object that is whole nowhere; what shows no more of it than this one adds nothing
            further = (windows[same, :2] < windows[i, :2]) | (windows[same, 2:] > windows[i, 2:])
            parts = [i, *same[cut[same] & further.any(axis=1)]] if cut[i] else [i]
            grows = len(parts) > 1
            for array in (boxes, windows):
                array[i, :2], array[i, 2:] = array[parts, :2].min(axis=0), array[parts, 2:].max(axis=0)
            cut[i] = _cut_off(boxes[i], windows[i], picture)
    order = np.array(kept, int)[np.argsort(-scores[kept], kind="stable")]
    return boxes[order], scores[order], classes[order]


def _cut_off(boxes, windows, picture) -> np.ndarray:
    """bool (…,): whether boxes end at an edge of their windows that is none of the picture's."""
    height, width = picture
    sides = np.tile(windows[..., 2:] - windows[..., :2], 2)
    inner = np.abs(windows - np.float64([0, 0, width, height])) > 0.5
    return ((np.abs(boxes - windows) <= np.maximum(1, AT_EDGE * sides)) & inner).any(axis=-1)
