"""From a Sample as it was read to a Sample on the network's canvas: augmentation, and the labels that move along."""

import dataclasses
import os
import random
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from visiontasks.catalog import check_arguments
from visiontasks.data import albumentations_catalog
from visiontasks.errors import RecipeError
from visiontasks.geometry import Placement
from visiontasks.sample import OBJECT_FIELDS, VOID, Sample

THINNEST = 0.5  # pixels: a box that a transform leaves thinner than this has vanished
_NEAREST_ONLY = "a label map holds class numbers, which only the nearest pixel keeps"


def check_augment(augment: Sequence, where: str = "data.augment"):
    """Check a recipe's list of transforms without importing albumentations.

    Args:
        augment: names, or {name: {argument: value}}; a composition such as OneOf has its own list as `transforms`.
        where: the key that errors name.

    Raises:
        RecipeError: a name or an argument that albumentations does not have (with the near one), a missing argument,
            a value of another type, or a transform that this pipeline has no place for.
    """
    for _ in _parse(augment, where):
        pass


def _parse(augment, where, size=None) -> Iterator[tuple[str, dict]]:
    """(name, arguments) of each entry, checked; the list inside a composition is parsed too.

    A crop that is told no `size` of its own is given the canvas's.
    """
    if isinstance(augment, (str, dict)) or not isinstance(augment, Sequence):
        raise RecipeError(f"{where}: expected a list such as [{{HorizontalFlip: {{p: 0.5}}}}], got {augment!r}.")
    for number, entry in enumerate(augment):
        here = f"{where}[{number}]"
        if isinstance(entry, str):
            entry = {entry: None}
        if not isinstance(entry, dict) or len(entry) != 1:
            raise RecipeError(f"{here}: expected a name or {{name: {{argument: value}}}}, got {entry!r}.")
        ((name, given),) = entry.items()
        part = albumentations_catalog.transform(str(name), here)
        given = {} if given is None else given
        if not isinstance(given, dict):
            raise RecipeError(f"{here}.{name}: expected {{argument: value}} such as {{p: 0.5}}, got {given!r}.")
        if "mask_interpolation" in given:
            raise RecipeError(f"{here}.{name}.mask_interpolation: cannot be set: {_NEAREST_ONLY}. Leave it out.")
        given = dict(given)
        sized = "Crop" in name and any(a.name == "size" for a in part.arguments)
        check_arguments(part, given, f"{here}.{name}", filled=("size",) if sized else ())
        if sized and size is not None:
            given.setdefault("size", tuple(size))
        if "transforms" in given:
            given["transforms"] = list(_parse(given["transforms"], f"{here}.{name}.transforms", size))
        elif "fill_mask" not in given and any(a.name == "fill_mask" for a in part.arguments):
            given["fill_mask"] = VOID  # what a transform lays bare was never labelled
        yield str(name), given


def _crops(name: str, given: dict) -> bool:
    return "Crop" in name or any(_crops(*inner) for inner in given.get("transforms", ()))


class Augment:
    """Augments a Sample and places it on the canvas; picture, masks, boxes and keypoints move together.

    Everything up to and including the last transform whose name contains "Crop" runs at the picture's own resolution;
    then the picture is placed on the canvas; the rest runs there, where it costs least. Objects that a transform moves
    out of sight are dropped with all their fields; keypoints out of sight get visibility 0; what a transform lays bare
    is void in a mask. The result depends on the sample and the generator's state alone, whatever the thread.

    Args:
        augment: the recipe's list, as `check_augment` takes it; a crop without `size` cuts to the canvas's.
        size: (height, width) of the canvas.
        resize: how a picture is placed, a mode of `visiontasks.geometry.Placement`.

    Raises:
        RecipeError: as `check_augment`, or a value that albumentations refuses; when called, a transform failed on a
            picture.
    """

    def __init__(self, augment: Sequence = (), size: tuple[int, int] = (256, 256), resize: str = "stretch"):
        self.augment, self.size, self.resize = list(augment), tuple(size), resize
        parsed = list(_parse(self.augment, "data.augment", self.size))
        split = max((n for n, entry in enumerate(parsed, 1) if _crops(*entry)), default=0)
        self._parsed = parsed[:split], parsed[split:]
        # a Compose carries its random state: shared by threads, two runs with one seed would differ
        self._local = threading.local()
        self._composes()  # here and now, so that a value out of bounds is an error before training

    def __reduce__(self):
        return type(self), (self.augment, self.size, self.resize)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A Sample whose image is uint8 (*size, 3)."""
        free, placed = self._composes()
        states = rng, random.Random(int(rng.integers(2**63)))
        sample = self._place(self._apply(*free, sample, states))
        # a transform such as Transpose may have changed the canvas itself
        return self._place(self._apply(*placed, sample, states))

    def _place(self, sample):
        return place(sample, Placement(sample.image.shape[:2], self.size, self.resize))

    def _composes(self):
        if not hasattr(self._local, "composes"):
            self._local.composes = [_compose(entries) if entries else (None, False) for entries in self._parsed]
        return self._local.composes

    def _apply(self, compose, moves, sample: Sample, states) -> Sample:
        if compose is None:
            return sample
        compose.set_random_state(*states)
        try:
            moved = compose(**(_targets(sample) if moves else {"image": sample.image}))
        except Exception as error:  # albumentations raises its own kinds, and OpenCV's
            height, width = sample.image.shape[:2]
            raise RecipeError(
                f"data.augment: albumentations failed on {sample.id or sample.path or 'a sample'} "
                f"({height}×{width} pixels): {type(error).__name__}: {error}"
            ) from error
        image = moved["image"]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise RecipeError(
                f"data.augment: expected uint8 pictures of 3 channels from the transforms, got {image.dtype} "
                f"{image.shape}; leave out the transform that changes them."
            )
        return _labels(sample, moved) if moves else dataclasses.replace(sample, image=image)


def _compose(entries):
    """The Compose of some entries, and whether it moves more than the picture's colours."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the network for a newer version
    import albumentations

    def make(name, given):
        if "transforms" in given:
            given = {**given, "transforms": [make(*inner) for inner in given["transforms"]]}
        try:
            return getattr(albumentations, name)(**given)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"data.augment: {name} refuses its arguments: {error}") from error

    def moves(name, given):
        inner = given.get("transforms", ())
        return issubclass(getattr(albumentations, name), albumentations.DualTransform) or any(moves(*i) for i in inner)

    transforms, parameters = [make(*entry) for entry in entries], {}
    if any(moves(*entry) for entry in entries):
        parameters = {
            "bbox_params": albumentations.BboxParams("pascal_voc", min_width=THINNEST, min_height=THINNEST),
            "keypoint_params": albumentations.KeypointParams("xy", remove_invisible=False),
        }
    return albumentations.Compose(transforms, **parameters), bool(parameters)


def _targets(sample: Sample) -> dict[str, np.ndarray]:
    """A Sample as albumentations takes it; each box and keypoint carries its number, to be known again after."""
    targets = {"image": sample.image}
    if sample.mask is not None:
        # OpenCV moves no int32; class numbers fit in uint8 unless there are more than 255
        targets["mask"] = sample.mask.astype(np.uint8 if sample.mask.max() <= VOID else np.int16)
    if sample.boxes is not None:
        targets["bboxes"] = np.column_stack([sample.boxes, np.arange(len(sample.boxes))])
    if sample.instance_masks is not None and len(sample.instance_masks):
        targets["masks"] = sample.instance_masks
    if sample.keypoints is not None and sample.keypoints.size:
        # albumentations counts keypoints from the centre of the first pixel, we from its corner
        points = sample.keypoints[..., :2].reshape(-1, 2) - 0.5
        targets["keypoints"] = np.column_stack([points, np.arange(len(points))])
    return targets


def _labels(sample: Sample, moved: dict) -> Sample:
    """The Sample that albumentations' result stands for."""
    changes = {"image": moved["image"]}
    height, width = moved["image"].shape[:2]
    if "mask" in moved:
        changes["mask"] = moved["mask"].astype(np.int32)
    if "masks" in moved:
        changes["instance_masks"] = (moved["masks"] == 1).astype(np.uint8)  # void is no part of an object
    elif sample.instance_masks is not None:
        changes["instance_masks"] = np.zeros((0, height, width), np.uint8)
    if "keypoints" in moved:
        points = sample.keypoints.reshape(-1, 3).copy()
        rows = np.asarray(moved["keypoints"], np.float32).reshape(-1, 3)
        rows[:, :2] += 0.5
        # reflection shows a point several times: the one inside the picture, written last, stays
        rows = rows[np.argsort(_inside(rows, height, width), kind="stable")]
        points[:, :2] = -1
        points[rows[:, 2].astype(int), :2] = rows[:, :2]
        changes["keypoints"] = points.reshape(sample.keypoints.shape)
    if sample.boxes is not None:
        boxes = np.zeros_like(sample.boxes)
        rows = np.asarray(moved["bboxes"], np.float32).reshape(-1, 5) if len(moved["bboxes"]) else np.zeros((0, 5))
        rows = rows[np.argsort((rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]), kind="stable")]
        boxes[rows[:, 4].astype(int)] = rows[:, :4]  # of a box shown several times the largest stays
        changes["boxes"] = boxes
    return _cut(sample, changes)


def place(sample: Sample, placement: Placement) -> Sample:
    """A Sample in its own pixels moved onto the canvas, without augmentation."""
    if tuple(sample.image.shape[:2]) == tuple(placement.size):
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
    return _cut(sample, changes)


def _inside(points, height, width):
    return (points[..., 0] >= 0) & (points[..., 0] <= width) & (points[..., 1] >= 0) & (points[..., 1] <= height)


def _cut(sample: Sample, changes: dict) -> Sample:
    """The Sample with `changes`, cut to the new picture: what fell out of sight is dropped.

    `areas` are of the picture as it was read, so a transform leaves none.
    """
    height, width = changes["image"].shape[:2]
    if "keypoints" in changes:
        points = changes["keypoints"]
        points[~_inside(points, height, width) | (points[..., 2] == 0)] = 0
    if "boxes" in changes:
        boxes = np.clip(changes["boxes"], 0, np.float32([width, height, width, height]))
        keep = ((boxes[:, 2:] - boxes[:, :2]) >= THINNEST).all(axis=1)
        if "instance_masks" in changes:
            keep &= changes["instance_masks"].any(axis=(1, 2))
        changes["boxes"] = boxes
        for name in (*OBJECT_FIELDS, "crowd"):
            value = changes.get(name, getattr(sample, name))
            if value is not None:
                changes[name] = value[keep]
        changes["areas"] = None
    return dataclasses.replace(sample, **changes)
