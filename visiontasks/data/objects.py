"""The objects of one picture as annotation files give them, and the Sample fields that follow from them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from visiontasks.data import segmentations
from visiontasks.sample import UNLABELLED

_ROUNDING = 1.0  # pixels: what a box may overshoot its picture by, from rounding, without a word


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """What is known of N objects of one picture.

    Args:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels, within the picture.
        classes: int32 (N,).
        ignored: bool (N,), as `Sample.ignored`.
        areas: float32 (N,), as `Sample.areas`; None: the boxes'.
        keypoints: float32 (N, K, 3), or None.
        masks: the N segmentations as `visiontasks.data.segmentations.check` gives them, or None.
    """

    boxes: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray
    areas: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    masks: tuple | None = None

    def fields(self, count: int, size: tuple[int, int], masks: bool = True) -> dict:
        """The Sample fields of these objects.

        `tags` are the classes present, ignored ones too; `label` is that of the largest object not ignored, or -1.

        Args:
            count: how many classes there are.
            size: (height, width) of the picture.
            masks: decode the instance masks, where there are any.
        """
        tags = np.zeros(count, np.float32)
        tags[self.classes] = 1
        found = dict(boxes=self.boxes.copy(), classes=self.classes.copy(), ignored=self.ignored.copy())
        found.update(tags=tags, label=self._largest())
        if self.areas is not None:
            found["areas"] = self.areas.copy()
        if self.keypoints is not None:
            found["keypoints"] = self.keypoints.copy()
        if self.masks is not None and masks:
            found["instance_masks"] = segmentations.decode(self.masks, size)
        return found

    def scaled(self, size: tuple[int, int]) -> "Objects":
        """Boxes and polygons that are shares of a picture, in pixels of one of that (height, width)."""
        scale = np.array([size[1], size[0]], np.float64)
        boxes = (self.boxes.reshape(-1, 2, 2) * scale).reshape(-1, 4).astype(np.float32)
        masks = self.masks
        if masks is not None:
            masks = tuple([(np.reshape(polygon, (-1, 2)) * scale).ravel().tolist()] for polygon in masks)
        return dataclasses.replace(self, boxes=boxes, masks=masks)

    def _largest(self) -> int:
        single = np.flatnonzero(~self.ignored)
        if not len(single):
            return UNLABELLED
        areas = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1) if self.areas is None else self.areas
        return int(self.classes[single[np.argmax(areas[single])]])


def zero_based(boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) that count pixels from 1 and include the last one, as boxes whose first corner is one less.

    A box without extent would be one pixel by that count, but nobody draws that: it is a click without a drag, and
    comes back ending at 0.
    """
    boxes = np.array(boxes, np.float64)
    with np.errstate(invalid="ignore"):
        boxes[(boxes[:, 2:] <= boxes[:, :2]).any(axis=1), 2:] = 0
    boxes[:, :2] -= 1
    return boxes


def usable_boxes(
    boxes: np.ndarray, size: Sequence[float], names: Sequence[str], report, rounding: float = _ROUNDING
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes that can be learnt from, clipped to their picture; what is skipped or clipped is reported.

    Args:
        boxes: float (N, 4), x1, y1, x2, y2.
        size: (height, width) of the picture, in the boxes' unit.
        names: what the report calls each box.
        report: gets `add(what, name)`.
        rounding: what a box may overshoot the picture by without a word.

    Returns:
        float32 (M, 4), 0 <= x1 < x2 <= width and the same of y; and int (M,), which of the N they are.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    height, width = size
    with np.errstate(invalid="ignore"):
        clipped = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        finite = np.isfinite(boxes).all(axis=1)
        extended = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        seen = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
        over = (np.abs(boxes - clipped) > rounding).any(axis=1)
    kept = finite & extended & seen
    if not kept.all() or over.any():
        for number, name in enumerate(names):
            if not finite[number]:
                report.add("box of NaN or infinity, skipped", name)
            elif not extended[number]:
                report.add("box without extent, skipped", name)
            elif not seen[number]:
                report.add("box outside its picture, skipped", name)
            elif over[number]:
                report.add("box beyond its picture's edge, clipped", name)
    return clipped[kept], np.flatnonzero(kept)
