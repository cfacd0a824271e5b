"""The objects of one image from an annotation file, and the Sample fields that follow from them."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from visiontasks.data.segmentations import points_of
from visiontasks.instance_masks import InstanceMasks
from visiontasks.sample import UNLABELED, VOID

_ROUNDING = 1.0  # pixels by which a box may exceed its image, from rounding, without a report


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """The annotations of N objects of one image.

    Boxes, polygons and keypoints are in pixels, or, until `scaled`, shares of the image.

    Args:
        boxes: float32 (N, 4), x1, y1, x2, y2, inside the image.
        classes: int32 (N,).
        ignored: bool (N,), as `Sample.ignored`.
        areas: float32 (N,), as `Sample.areas`; None: the boxes'.
        keypoints: float32 (N, K, 3), or None.
        masks: N segmentations, each of polygons, arrays of x1, y1, x2, y2, …, or compressed run lengths, as
            `visiontasks.data.segmentations.check` gives them, or None; or None.
    """

    boxes: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray
    areas: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    masks: tuple | None = None

    def fields(
        self,
        count: int,
        size: tuple[int, int],
        wanted: Collection[str] = ("instance_masks", "mask"),
        known: np.ndarray | None = None,
    ) -> dict:
        """The Sample fields of these objects.

        `tags` are the classes present, including ignored ones, and -1 for those that are neither present nor known;
        `label` is the class of the largest object, or -1. `mask` is 0, background, or the class of the object + 1, of
        overlapping ones the smaller one's; void are ignored regions, the boxes of objects that have no mask, and, if
        not all classes are known, what is no object.

        Args:
            count: number of classes.
            size: (height, width) of the image.
            wanted: of `instance_masks` and `mask` those to compute, if there are masks.
            known: as `Sample.known`.
        """
        tags = np.zeros(count, np.float32) if known is None else np.where(known, np.float32(0), UNLABELED)
        tags[self.classes] = 1
        fields = dict(boxes=self.boxes.copy(), classes=self.classes.copy(), ignored=self.ignored.copy())
        fields.update(tags=tags, label=self._largest(), known=known)
        if self.areas is not None:
            fields["areas"] = self.areas.copy()
        if self.keypoints is not None:
            fields["keypoints"] = self.keypoints.copy()
        masks = None if self.masks is None else InstanceMasks(map(_shape, self.masks), size)
        if masks is not None and "instance_masks" in wanted:
            fields["instance_masks"] = masks
        if masks is not None and "mask" in wanted:
            fields["mask"] = self._semantic(masks, known)
        return fields

    def _semantic(self, masks, known) -> np.ndarray:
        """int32 (H, W): `mask` as `fields` gives it."""
        areas = np.nan_to_num(masks.areas(), nan=np.inf)
        order = np.argsort(areas, kind="stable")
        labels = masks.flat(order[(masks.known & ~self.ignored)[order]])
        void = masks.flat(np.flatnonzero(masks.known & self.ignored)) >= 0
        for x1, y1, x2, y2 in self.boxes[~masks.known]:
            void[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
        rest = VOID if known is not None and not known.all() else 0
        return np.where(labels >= 0, np.append(self.classes + 1, 0)[labels], np.where(void, VOID, rest)).astype(
            np.int32
        )

    def scaled(self, size: tuple[int, int]) -> "Objects":
        """Boxes, polygons and keypoints given as shares of the image, in pixels of an image of (height, width)."""
        scale = np.array([size[1], size[0]], np.float64)
        boxes = (self.boxes.reshape(-1, 2, 2) * scale).reshape(-1, 4).astype(np.float32)
        masks, points = self.masks, self.keypoints
        if points is not None:
            points = np.concatenate([points[..., :2] * scale, points[..., 2:]], axis=-1).astype(np.float32)
        if masks is not None:
            masks = tuple(
                None if polygons is None else [(points_of(polygon) * scale).ravel() for polygon in polygons]
                for polygons in masks
            )
        return dataclasses.replace(self, boxes=boxes, masks=masks, keypoints=points)

    def _largest(self) -> int:
        single = np.flatnonzero(~self.ignored)
        if not len(single):
            return UNLABELED
        areas = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1) if self.areas is None else self.areas
        return int(self.classes[single[np.argmax(areas[single])]])


def _shape(segmentation):
    """A checked segmentation as InstanceMasks has it."""
    if segmentation is None or isinstance(segmentation, dict):
        return segmentation
    return tuple(map(points_of, segmentation))


def zero_based(boxes: np.ndarray) -> np.ndarray:
    """Convert boxes (N, 4) that count pixels from 1 and include the last one: their first corner moves by one.

    By that count a box without extent would be one pixel, but such a box is a click without a drag. It is returned with
    an end at 0, so that it is skipped.
    """
    boxes = np.array(boxes, np.float64)
    with np.errstate(invalid="ignore"):
        boxes[(boxes[:, 2:] <= boxes[:, :2]).any(axis=1), 2:] = 0
    boxes[:, :2] -= 1
    return boxes


def usable_boxes(
    boxes: np.ndarray, size: Sequence[float], names: Sequence[str], report, rounding: float = _ROUNDING
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes that can be learned, clipped to their image; skipped and clipped boxes are reported.

    Args:
        boxes: float (N, 4), x1, y1, x2, y2.
        size: (height, width) of the image, in the boxes' unit.
        names: of the boxes, for the report.
        report: gets the boxes that are skipped or clipped.
        rounding: by how much a box may exceed the image without a report.

    Returns:
        float32 (M, 4), 0 <= x1 < x2 <= width and the same for y; and int (M,), their indices in the input.
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
                report.skipped("box of NaN or infinity, skipped", name)
            elif not extended[number]:
                report.skipped("box without extent, skipped", name)
            elif not seen[number]:
                report.skipped("box outside of its image, skipped", name)
            elif over[number]:
                report.noted("box that exceeds its image, clipped", name)
    return clipped[kept], np.flatnonzero(kept)


def usable_points(
    points: np.ndarray, size: Sequence[float], names: Sequence[str], report, rounding: float = _ROUNDING
) -> np.ndarray:
    """Keypoints as a Sample has them: those that are NaN or outside of their image are not labeled, which is reported.

    Args:
        points: float (N, K, 3), x, y, visibility; x and y of those that are not labeled do not matter.
        size: (height, width) of the image, in the points' unit.
        names: of the N objects, for the report.
        report: gets the points that are not labeled now.
        rounding: by how much a point may exceed the image; such a point is moved to the edge.

    Returns:
        float32 (N, K, 3), zeros where nothing is labeled.
    """
    points = np.array(points, np.float64)
    height, width = size
    labeled, finite = points[..., 2] > 0, np.isfinite(points).all(axis=-1)
    with np.errstate(invalid="ignore"):
        clipped = np.clip(points[..., :2], 0, [width, height])
        outside = labeled & finite & (np.abs(points[..., :2] - clipped) > rounding).any(axis=-1)
    for what, where in (("of NaN or infinity", labeled & ~finite), ("outside of its image", outside)):
        for number in np.flatnonzero(where.any(axis=-1)):
            report.skipped(f"keypoint {what}, not labeled", names[number])
    points[..., :2] = clipped
    points[~(labeled & finite) | outside] = 0
    return points.astype(np.float32)
