"""The views of an image that a network predicts for: the whole image or tiles, each also mirrored."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from visiontasks.geometry import Placement, Window
from visiontasks.preprocess import Preprocess


@dataclasses.dataclass(frozen=True)
class Shown:
    """The object that a view shows alone.

    Args:
        number: of the object in its image; a view and its mirrored one have the same.
        box: x1, y1, x2, y2 in the image's pixels.
        score: of the detection.
        kind: the object's class.
        detected: by a detector; otherwise the object is the whole image, and its box is around its keypoints.
    """

    number: int
    box: tuple[float, float, float, float]
    score: float
    kind: int
    detected: bool = True


@dataclasses.dataclass(frozen=True)
class View:
    """A window of an image, possibly mirrored, for the network.

    Args:
        image_size: (height, width) of the whole image.
        window: (top, left, bottom, right) in its pixels.
        preprocess: how the window is fitted to the network's canvas.
        flipped: mirrored from left to right.
        shown: the object that fills the canvas; the window is then the whole image.
    """

    image_size: tuple[int, int]
    window: tuple[int, int, int, int]
    preprocess: Preprocess
    flipped: bool = False
    shown: Shown | None = None

    @property
    def placement(self) -> Placement | Window:
        """The placement of the window on the canvas."""
        top, left, bottom, right = self.window
        box = None if self.shown is None else self.shown.box
        if box is not None and self.flipped:
            box = (right - box[2], box[1], right - box[0], box[3])
        return self.preprocess.placement((bottom - top, right - left), box)

    def canvas(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) of the whole image to the canvas, uint8 (*size, 3)."""
        top, left, bottom, right = self.window
        image = image[top:bottom, left:right]
        return self.placement.place_image(np.ascontiguousarray(image[:, ::-1]) if self.flipped else image)

    def restore_boxes(self, boxes: np.ndarray) -> np.ndarray:
        """float32 (N, 4) x1, y1, x2, y2 in the window's pixels, as `placement` restores them, to the image's."""
        top, left, _, right = self.window
        if self.flipped:
            boxes = np.stack([right - left - boxes[:, 2], boxes[:, 1], right - left - boxes[:, 0], boxes[:, 3]], axis=1)
        return boxes + np.float32([left, top, left, top])

    def restore_keypoints(self, points: np.ndarray, partners: Sequence[int] | None) -> np.ndarray:
        """float32 (N, K, 3), x and y in the window's pixels, as `placement` restores them, and score, to the image's.

        Args:
            points: of N objects.
            partners: the index that each keypoint gets in a mirrored image; None: its own.
        """
        top, left, _, right = self.window
        points = points.copy()
        if self.flipped:
            points[..., 0] = right - left - points[..., 0]
            points = points if partners is None else points[:, list(partners)]
        points[..., :2] += np.float32([left, top])
        return points

    def restore_map(self, values: np.ndarray) -> np.ndarray:
        """(h, w, …) over the window, as `placement` restores it; mirrored back if the view is flipped."""
        return values[:, ::-1] if self.flipped else values


def views(
    image_size: tuple[int, int],
    preprocess: Preprocess,
    tile: int | None = None,
    overlap: float = 0.2,
    flip: bool = False,
) -> list[View]:
    """The views of an image: the whole image, or tiles that cover it; each also mirrored if `flip`.

    Args:
        image_size: (height, width).
        preprocess: how each view is fitted to the canvas.
        tile: height and width of a tile in pixels of the image; a shorter axis is not divided.
        overlap: the minimum share of a tile that its neighbor shows too; an object of up to that size is whole in one.
        flip: whether to add mirrored views.
    """
    rows, columns = (_starts(length, tile, overlap) for length in image_size)
    height, width = (min(length, tile or length) for length in image_size)
    windows = [(top, left, top + height, left + width) for top in rows for left in columns]
    return [
        View(tuple(image_size), window, preprocess, mirrored)
        for window in windows
        for mirrored in ((False, True) if flip else (False,))
    ]


def object_views(
    image_size: tuple[int, int], preprocess: Preprocess, detections: dict[str, np.ndarray], flip: bool = False
) -> list[View]:
    """A view of each object that was detected, each also mirrored if `flip`.

    Args:
        image_size: (height, width).
        preprocess: whose mode is `object`.
        detections: `boxes`, `scores` and `classes`, in the image's pixels.
        flip: whether to add mirrored views.
    """
    rows = zip(*(detections[name].tolist() for name in ("boxes", "scores", "classes")), strict=True)
    return [
        View(tuple(image_size), (0, 0, *image_size), preprocess, mirrored, Shown(number, tuple(box), score, kind))
        for number, (box, score, kind) in enumerate(rows)
        for mirrored in ((False, True) if flip else (False,))
    ]


def mirrored_views(image_size: tuple[int, int], preprocess: Preprocess) -> list[View]:
    """The views of one object that is the whole image: as it is, and mirrored."""
    height, width = image_size
    whole = Shown(0, (0.0, 0.0, float(width), float(height)), 1.0, 0, detected=False)
    return [View(tuple(image_size), (0, 0, *image_size), preprocess, mirrored, whole) for mirrored in (False, True)]


def _starts(length, tile, overlap):
    """The starts of tiles along an axis, evenly spaced; the last tile ends at the image's end."""
    if tile is None or length <= tile:
        return [0]
    step = max(1, math.floor(tile * (1 - overlap)))
    count = 1 + math.ceil((length - tile) / step)
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]
