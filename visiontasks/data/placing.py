"""Moves a Sample onto a canvas, and several onto one: picture, masks, boxes and keypoints alike."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from visiontasks.geometry import Placement, Position
from visiontasks.ops import numpy_boxes
from visiontasks.sample import OBJECT_FIELDS, SCORING_FIELDS, UNLABELLED, Sample

THINNEST = 0.5  # pixels: a box that a transform leaves thinner than this has vanished


def place(sample: Sample, placement: Placement | Position, visible: float = 0.0) -> Sample:
    """A Sample in its own pixels moved onto the canvas.

    Objects of which nothing is left in sight are dropped, or less than the share `visible` of their boxes; of an
    ignored region whatever is left stays. A box that was cut is as tight as its mask, where there is one.
    """
    if placement.is_identity:
        return sample
    changes = {"image": placement.place_image(sample.image)}
    (scale_y, scale_x), (top, left) = placement.scale, placement.offset
    scale, offset = np.float32([scale_x, scale_y]), np.float32([left, top])
    if sample.mask is not None:
        changes["mask"] = placement.place_mask(sample.mask)
    if sample.instance_masks is not None:
        masks = [placement.place_mask(mask) == 1 for mask in sample.instance_masks]
        changes["instance_masks"] = np.array(masks, np.uint8).reshape(len(masks), *placement.size)
    if sample.keypoints is not None:
        points = sample.keypoints.copy()
        points[..., :2] = points[..., :2] * scale + offset
        changes["keypoints"] = points
    if sample.boxes is not None:
        changes["boxes"] = (sample.boxes.reshape(-1, 2, 2) * scale + offset).reshape(-1, 4)
    return cut(sample, changes, visible)


def inside(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which of (…, 2 or more) x, y lie within a picture."""
    return (points[..., 0] >= 0) & (points[..., 0] <= width) & (points[..., 1] >= 0) & (points[..., 1] <= height)


def cut(sample: Sample, changes: dict, visible: float = 0.0) -> Sample:
    """The Sample with `changes`, cut to the new picture: what fell out of sight is dropped, as `place` does.

    `areas` are of the picture as it was read, so a transform leaves none.
    """
    height, width = changes["image"].shape[:2]
    if "keypoints" in changes:
        points = changes["keypoints"]
        points[~inside(points, height, width) | (points[..., 2] == 0)] = 0
    if "boxes" in changes:
        boxes = np.clip(changes["boxes"], 0, np.float32([width, height, width, height]))
        keep = ((boxes[:, 2:] - boxes[:, :2]) >= THINNEST).all(axis=1)
        seen = numpy_boxes.area(boxes) >= visible * numpy_boxes.area(changes["boxes"])
        keep &= seen if sample.ignored is None else seen | sample.ignored
        if "instance_masks" in changes:
            keep &= changes["instance_masks"].any(axis=(1, 2))
            for number in np.flatnonzero((boxes != changes["boxes"]).any(axis=1) & keep):
                boxes[number] = tight(boxes[number], changes["instance_masks"][number])
        keep &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        changes["boxes"] = boxes
        changes = {**_objects(sample), **changes, "areas": None}
        changes |= {name: changes[name][keep] for name in _objects(sample)}
    return dataclasses.replace(sample, **changes)


def tight(box: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The part of a box (4,) that lies around what is left of its object, a region (H, W) that is not empty."""
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    low, high = (columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)
    # where nothing was cut away the box stays as exact as it was
    return np.concatenate([np.maximum(box[:2], low), np.minimum(box[2:], high)])


def _objects(sample):
    """{field: value} of those with one entry an object."""
    found = {name: getattr(sample, name) for name in OBJECT_FIELDS}
    return {name: value for name, value in found.items() if value is not None}


def choose(sample: Sample, keep: np.ndarray) -> Sample:
    """The Sample with those of its objects that a bool (N,) names; without `areas`."""
    return dataclasses.replace(sample, areas=None, **{name: v[keep] for name, v in _objects(sample).items()})


def joined(samples: Sequence[Sample]) -> dict:
    """The labels, but `mask`, of one picture that shows the objects of several Samples of its size.

    What one of them was not labelled for, it is not; a class is known where it is in all of them; a label and tags stay
    where all agree.
    """
    changes = {name: None for name in (*OBJECT_FIELDS, *SCORING_FIELDS, "known")}
    parts = [_objects(sample) for sample in samples]
    if any("ignored" in part for part in parts):
        parts = [{"ignored": np.zeros(len(part.get("boxes", ())), bool), **part} for part in parts]
    if all("boxes" in part for part in parts):
        for name in parts[0].keys() & set.intersection(*(set(part) for part in parts)):
            changes[name] = np.concatenate([part[name] for part in parts])
        known = [sample.known for sample in samples if sample.known is not None]
        changes["known"] = np.logical_and.reduce(known) if known else None
    for name in ("label", "tags"):
        values = [getattr(sample, name) for sample in samples]
        known = all(value is not None for value in values)
        changes[name] = np.where(np.ptp(values, axis=0) == 0, values[0], UNLABELLED) if known else None
    return changes
