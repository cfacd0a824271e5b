"""Moves a Sample onto a canvas, or the objects of several Samples: images, masks, boxes and keypoints."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence

import numpy as np

from visiontasks.geometry import Placement, Position, Window
from visiontasks.ops import numpy_boxes
from visiontasks.sample import OBJECT_FIELDS, SCORING_FIELDS, UNLABELED, Sample

THINNEST = 0.5  # pixels: a box that a transform makes narrower or lower than this is dropped


def placement_of(sample: Sample, size: tuple[int, int], resize: str) -> Placement | Window:
    """How a Sample lies on a canvas of (height, width).

    Args:
        sample: with `object` of one object.
        size: of the canvas.
        resize: a mode of `visiontasks.geometry.RESIZES`.
    """
    if resize != "object":
        return Placement(sample.image.shape[:2], size, resize)
    return Window.around(sample.boxes[0], sample.image.shape[:2], size)


def place(sample: Sample, placement: Placement | Position | Window, visible: float = 0.0) -> Sample:
    """Move a Sample from its own pixels onto the canvas.

    Objects that leave the canvas are dropped, also those of whose boxes less than the share `visible` is left. Ignored
    regions stay as long as anything of them is left. A box that was cut is tight around its mask, if it has one.
    """
    if placement.is_identity:
        return sample
    image = placement.place_image(sample.image)
    return sample.each(lambda one: _placed(one, image, placement, visible))


def _placed(sample, image, placement, visible):
    changes = {"image": image}
    (scale_y, scale_x), (top, left) = placement.scale, placement.offset
    scale, offset = np.float32([scale_x, scale_y]), np.float32([left, top])
    if sample.mask is not None:
        changes["mask"] = placement.place_mask(sample.mask)
    if sample.instance_masks is not None:
        matrix = [[scale_x, 0, left], [0, scale_y, top]]
        changes["instance_masks"] = sample.instance_masks.moved(matrix, placement.size)
    if sample.keypoints is not None:
        points = sample.keypoints.copy()
        points[..., :2] = points[..., :2] * scale + offset
        changes["keypoints"] = points
    if sample.boxes is not None:
        changes["boxes"] = (sample.boxes.reshape(-1, 2, 2) * scale + offset).reshape(-1, 4)
    return cut(sample, changes, visible)


def inside(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which points (…, 2 or more) x, y lie inside an image."""
    return (points[..., 0] >= 0) & (points[..., 0] <= width) & (points[..., 1] >= 0) & (points[..., 1] <= height)


def cut(sample: Sample, changes: dict, visible: float = 0.0) -> Sample:
    """The Sample with `changes`, clipped to the new image: what lies outside is dropped, as in `place`.

    `areas` belong to the image as it was read, so they are removed. For a Sample of one label set.
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
            masks = changes["instance_masks"]
            keep &= ~masks.empty
            clipped = np.flatnonzero((boxes != changes["boxes"]).any(axis=1) & keep & masks.known)
            boxes[clipped] = tight(boxes[clipped], masks[clipped].boxes())
        keep &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        changes["boxes"] = boxes
        changes = {**_objects(sample), **changes, "areas": None}
        changes |= {name: changes[name][keep] for name in _objects(sample)}
    return dataclasses.replace(sample, **changes)


def tight(box: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Boxes (…, 4), tightened to what is seen of their objects, boxes around pixels."""
    # an edge where nothing was cut away stays as exact as it was
    return np.concatenate([np.maximum(box[..., :2], seen[..., :2]), np.minimum(box[..., 2:], seen[..., 2:])], axis=-1)


def _objects(sample):
    """{field: value} of the fields with one entry per object."""
    values = {name: getattr(sample, name) for name in OBJECT_FIELDS}
    return {name: value for name, value in values.items() if value is not None}


def choose(sample: Sample, keep: np.ndarray) -> Sample:
    """The Sample of one label set with the objects that a bool (N,) selects; without `areas`."""
    return dataclasses.replace(sample, areas=None, **{name: v[keep] for name, v in _objects(sample).items()})


def alike(one: Sample, other: Sample, field: str) -> bool:
    """Whether the same label sets of two Samples have a field."""
    sets = ("", *one.sets, *other.sets)
    return all((getattr(one.of(name), field) is None) == (getattr(other.of(name), field) is None) for name in sets)


def joined(samples: Sequence[Sample], mask: Callable[..., np.ndarray | None] = lambda *masks: None) -> dict:
    """The labels of one image with the objects of several Samples of equal size, for each label set.

    A label that one of them lacks is removed. A class is known if it is known in all. A label or tag stays where all
    agree.

    Args:
        samples: at least one.
        mask: returns the mask that follows from the samples'; each may be None. By default there is none.
    """
    names = dict.fromkeys(name for sample in samples for name in sample.sets)
    sets = {name: _joined([sample.of(name) for sample in samples], mask) for name in names}
    return {**_joined(samples, mask), "sets": sets}


def _joined(samples, mask):
    changes = {name: None for name in (*OBJECT_FIELDS, *SCORING_FIELDS, "known")}
    changes["mask"] = mask(*(sample.mask for sample in samples))
    objects = [_objects(sample) for sample in samples]
    if any("ignored" in one for one in objects):
        objects = [{"ignored": np.zeros(len(one.get("boxes", ())), bool), **one} for one in objects]
    if all("boxes" in one for one in objects):
        for name in objects[0].keys() & set.intersection(*(set(one) for one in objects)):
            values = [one[name] for one in objects]
            masks = name == "instance_masks"
            changes[name] = functools.reduce(operator.add, values) if masks else np.concatenate(values)
        known = [sample.known for sample in samples if sample.known is not None]
        changes["known"] = np.logical_and.reduce(known) if known else None
    for name in ("label", "tags"):
        values = [getattr(sample, name) for sample in samples]
        known = all(value is not None for value in values)
        changes[name] = np.where(np.ptp(values, axis=0) == 0, values[0], UNLABELED) if known else None
    return changes
