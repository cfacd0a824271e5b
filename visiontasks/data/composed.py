"""Runs several albumentations transforms as one step on a Sample: converts its labels to theirs and back."""

import dataclasses
import functools
import itertools
import os
import random
import threading

import cv2
import numpy as np

from visiontasks.data.mirror import MIRRORS, affine_map, frame, mirrored
from visiontasks.data.placing import THINNEST, cut, inside
from visiontasks.errors import RecipeError
from visiontasks.instance_masks import InstanceMasks
from visiontasks.sample import VOID, Sample


class Composed:
    """Applies albumentations transforms to a Sample. The result depends on the Sample and the generator alone.

    Args:
        entries: (name, arguments) of each; a composition has such a list as its `transforms`.
        partners: {label set: int (K,), the keypoint that each one becomes in a mirrored image}; keypoints of other sets
            are not renamed.

    Raises:
        RecipeError: albumentations refuses a value; or, when called, a transform failed on an image.
    """

    def __init__(self, entries: list[tuple[str, dict]], partners: dict[str, np.ndarray] | None = None):
        self._entries, self._partners = entries, partners or {}
        # a Compose holds random state: if threads shared it, two runs with one seed would differ
        self._local = threading.local()
        self._compose()  # build it now, so that a value out of bounds is an error before training

    def _compose(self):
        if not hasattr(self._local, "compose"):
            self._local.compose = _compose(self._entries)
        return self._local.compose

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        compose, moves, affine, notes = self._compose()
        notes.clear()
        compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        try:
            moved = compose(**(_targets(sample, affine) if moves else {"image": sample.image}))
        except Exception as error:  # albumentations and OpenCV raise many types
            height, width = sample.image.shape[:2]
            raise RecipeError(
                f"albumentations failed on {sample.id or sample.path or 'a sample'} "
                f"({height}×{width} pixels): {type(error).__name__}: {error}",
                "augment",
            ) from error
        image = moved["image"]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise RecipeError(
                f"expected uint8 images of 3 channels from the transforms, got {image.dtype} "
                f"{image.shape}; remove the transform that changes the type or the channels.",
                "augment",
            )
        if not moves:
            return dataclasses.replace(sample, image=image)
        return _labels(sample, moved, self._partners, _moves(sample.image, notes) if affine else None)


# albumentations' that resize an image, or a crop of it
RESIZES = {"Resize", "LongestMaxSize", "SmallestMaxSize", "RandomScale", "RandomResizedCrop", "RandomSizedCrop"}
RESIZES |= {"RandomSizedBBoxSafeCrop", "CropAndPad"}
# that map the whole image by one affine map
AFFINE = {*MIRRORS, *RESIZES, "Affine", "Rotate", "RandomRotate90", "SafeRotate", "ShiftScaleRotate", "Pad"}
AFFINE |= {"PadIfNeeded", "Crop", "CenterCrop", "RandomCrop", "RandomCropFromBorders", "RandomCropNearBBox"}
AFFINE |= {"AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop"}
# that fill a part of the image, and of masks only if their `fill_mask` says so
STAYS = {"NoOp", "CoarseDropout", "ConstrainedCoarseDropout", "Erasing", "GridDropout", "XYMasking"}


def _is_affine(name, given, moves) -> bool:
    """Whether a transform that moves pixels maps all of them by one affine map; false for what is not known."""
    if name in STAYS and given.get("fill_mask") is None:
        return True
    if "transforms" in given:
        return all(_is_affine(*inner, moves) for inner in given["transforms"])
    # with reflection an object appears several times
    border = given.get("border_mode", cv2.BORDER_CONSTANT) == cv2.BORDER_CONSTANT
    return not moves(name, given) or name in AFFINE and border


class _Centered:
    """Makes a transform that resizes scale keypoints from the image's corner, as it scales the image.

    albumentations scales them from the center of the first pixel: at twice the size they are off by half a pixel.
    """

    def apply_to_keypoints(self, keypoints, **parameters):
        shift = np.where(np.arange(keypoints.shape[1]) < 2, 0.5, 0).astype(keypoints.dtype)
        return super().apply_to_keypoints(keypoints + shift, **parameters) - shift


class _Noted:
    """Makes a transform note what it made of the points of `frame`, which are the last ones, and the image's size."""

    notes: list  # of the composition

    def apply_with_params(self, *args, **kwargs):
        moved = super().apply_with_params(*args, **kwargs)
        if "keypoints" in moved:
            self.notes.append((moved["keypoints"][-3:, :2] + 0.5, moved["image"].shape[:2]))
        return moved


@functools.cache
def _class_of(name):
    import albumentations

    given = getattr(albumentations, name)
    more = ((_Noted,) if name in AFFINE else ()) + ((_Centered,) if name in RESIZES else ())
    return type(name, (*more, given), {}) if more else given


def _compose(entries):
    """The Compose of some entries; whether it moves pixels (and not only changes colors), and all by affine maps.

    Also a list that gets a note of each such map, see `_moves`.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import looks for a newer version online
    import albumentations

    def make(name, given):
        if "transforms" in given:
            given = {**given, "transforms": [make(*inner) for inner in given["transforms"]]}
        try:
            # OpenCV's other rule for the nearest pixel shifts a mask by up to half a pixel
            exact = {"mask_interpolation": cv2.INTER_NEAREST_EXACT} if name in RESIZES else {}
            made = _class_of(name)(**{**exact, **given})
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{name} refuses its arguments: {error}", "augment") from error
        made.notes = notes
        return made

    def moves(name, given):
        inner = given.get("transforms", ())
        return issubclass(getattr(albumentations, name), albumentations.DualTransform) or any(moves(*i) for i in inner)

    notes = []
    transforms, parameters = [make(*entry) for entry in entries], {}
    if any(moves(*entry) for entry in entries):
        parameters = {
            "bbox_params": albumentations.BboxParams("pascal_voc", min_width=THINNEST, min_height=THINNEST),
            "keypoint_params": albumentations.KeypointParams("xy", remove_invisible=False),
        }
    affine = all(_is_affine(*entry, moves) for entry in entries)
    return albumentations.Compose(transforms, **parameters), bool(parameters), affine, notes


def _moves(image: np.ndarray, notes: list) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """The affine maps of the transforms, one after the other, and the image's size after each.

    An image between two others is left out if all that it cuts off lies outside of one of them too.
    """
    kept = [(frame(image), image.shape[:2])]
    for note in notes:
        if len(kept) > 1 and (_holds(kept[-1], kept[-2]) or _holds(kept[-1], note)):
            kept.pop()
        kept.append(note)
    return [(affine_map(before, after), size) for (before, _), (after, size) in itertools.pairwise(kept)]


def _holds(note, other) -> bool:
    """Whether another image, moved to this one, lies inside it."""
    (points, limits), (before, (height, width)), near = note, other, 0.01  # pixels, from rounding
    for (a, b, c), limit in zip(affine_map(before, points).tolist(), limits[::-1], strict=True):
        ends = c, c + a * width, c + b * height, c + a * width + b * height
        if min(ends) < -near or max(ends) > limit + near:
            return False
    return True


def _targets(sample: Sample, affine: bool) -> dict[str, np.ndarray]:
    """A Sample as albumentations takes it, all label sets at once, so that they move together.

    Boxes and keypoints carry their index, to identify them afterwards. Instance masks are moved here if the map is
    affine: the points of `frame` define it.
    """
    targets, layers = {"image": sample.image}, []
    for one in (sample, *sample.sets.values()):
        if one.mask is not None:
            # OpenCV cannot move int32; class indices fit in uint8 unless there are more than 255
            layers.append(one.mask[None].astype(np.uint8 if one.mask.max() <= VOID else np.int16))
    if layers:
        targets["mask"] = layers.pop(0)[0]
    instances = _of_each(sample, "instance_masks")
    layers += [] if affine else list(map(np.asarray, instances))
    if sum(map(len, layers)):
        targets["masks"] = np.concatenate(layers) if len(layers) > 1 else layers[0]
    if boxes := _of_each(sample, "boxes"):
        boxes = np.concatenate(boxes)
        targets["bboxes"] = np.column_stack([boxes, np.arange(len(boxes))])
    points = [points[..., :2].reshape(-1, 2) for points in _of_each(sample, "keypoints")]
    if sum(map(len, points)) or affine and sum(map(len, instances)):
        # albumentations measures keypoints from the center of the first pixel, this package from its corner
        points = np.concatenate([*points, frame(sample.image)]) - 0.5
        targets["keypoints"] = np.column_stack([points, np.arange(len(points))])
    return targets


def _of_each(sample, field) -> list[np.ndarray]:
    """A field of the label sets that have it, in their order."""
    values = (getattr(one, field) for one in (sample, *sample.sets.values()))
    return [value for value in values if value is not None]


def _labels(sample: Sample, moved: dict, partners: dict[str, np.ndarray], moves: list | None) -> Sample:
    """The Sample for albumentations' result, whose instance masks are moved by `moves`; None: by albumentations."""
    height, width = moved["image"].shape[:2]
    masks = [moved["mask"]] if "mask" in moved else []
    layers = list(moved.get("masks", ()))
    masks += [layers.pop(0) for _ in range(len(_of_each(sample, "mask")) - 1)]
    boxes = points = None
    if "bboxes" in moved:
        boxes = np.zeros((sum(map(len, _of_each(sample, "boxes"))), 4), np.float32)
        rows = np.asarray(moved["bboxes"], np.float32).reshape(-1, 5) if len(moved["bboxes"]) else np.zeros((0, 5))
        rows = rows[np.argsort((rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]), kind="stable")]
        boxes[rows[:, 4].astype(int)] = rows[:, :4]  # if a box appears several times, the largest stays
    if "keypoints" in moved:
        # the last three points are the image's frame
        points = [points.reshape(-1, 3) for points in _of_each(sample, "keypoints")]
        points = np.concatenate([*points, np.zeros((3, 3), np.float32)])
        rows = np.asarray(moved["keypoints"], np.float32).reshape(-1, 3)
        rows[:, :2] += 0.5
        # with reflection a point appears several times: the one inside the image is written last and stays
        rows = rows[np.argsort(inside(rows, height, width), kind="stable")]
        points[:, :2] = -1
        points[rows[:, 2].astype(int), :2] = rows[:, :2]

    def of_set(one, partners):
        nonlocal boxes, points
        changes = {"image": moved["image"]}
        if one.mask is not None:
            changes["mask"] = masks.pop(0).astype(np.int32)
        if one.instance_masks is not None and moves is not None and len(one.instance_masks):
            chain = functools.reduce(lambda masks, move: masks.moved(*move), moves, one.instance_masks)
            changes["instance_masks"] = chain
        elif one.instance_masks is not None:
            rasters = [layers.pop(0) == 1 for _ in range(len(one.instance_masks))]  # void does not belong to an object
            shapes = InstanceMasks.of(np.array(rasters, np.uint8).reshape(-1, height, width)).shapes
            pairs = zip(shapes, one.instance_masks.known, strict=True)
            changes["instance_masks"] = InstanceMasks((s if known else None for s, known in pairs), (height, width))
        if one.keypoints is not None and points is not None:
            size, shape = one.keypoints.size // 3, one.keypoints.shape
            changes["keypoints"], points = points[:size].reshape(shape), points[size:]
            if partners is not None and mirrored(points[-3:, :2]):
                changes["keypoints"] = changes["keypoints"][:, partners]
        if one.boxes is not None:
            changes["boxes"], boxes = np.split(boxes, [len(one.boxes)])
        return cut(one, changes)

    result = of_set(sample.of(""), partners.get(""))
    sets = {name: of_set(one, partners.get(name)) for name, one in sample.sets.items()}
    return dataclasses.replace(result, sets=sets) if sets else result
