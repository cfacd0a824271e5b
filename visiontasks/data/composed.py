"""Runs several albumentations transforms as one step on a Sample: converts its labels to theirs and back."""

import dataclasses
import os
import random
import threading

import numpy as np

from visiontasks.data.mirror import frame, mirrored
from visiontasks.data.placing import THINNEST, cut, inside
from visiontasks.errors import RecipeError
from visiontasks.sample import VOID, Sample


class Composed:
    """Applies albumentations transforms to a Sample. The result depends on the Sample and the generator alone.

    Args:
        entries: (name, arguments) of each; a composition has such a list as its `transforms`.
        partners: int (K,), the keypoint that each one becomes in a mirrored image; None: keypoints are not renamed.

    Raises:
        RecipeError: albumentations refuses a value; or, when called, a transform failed on an image.
    """

    def __init__(self, entries: list[tuple[str, dict]], partners: np.ndarray | None = None):
        self._entries, self._partners = entries, partners
        # a Compose holds random state: if threads shared it, two runs with one seed would differ
        self._local = threading.local()
        self._compose()  # build it now, so that a value out of bounds is an error before training

    def _compose(self):
        if not hasattr(self._local, "compose"):
            self._local.compose = _compose(self._entries)
        return self._local.compose

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        compose, moves = self._compose()
        compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        try:
            moved = compose(**(_targets(sample) if moves else {"image": sample.image}))
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
        return _labels(sample, moved, self._partners) if moves else dataclasses.replace(sample, image=image)


def _compose(entries):
    """The Compose of some entries, and whether it moves pixels (and not only changes colors)."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import looks for a newer version online
    import albumentations

    def make(name, given):
        if "transforms" in given:
            given = {**given, "transforms": [make(*inner) for inner in given["transforms"]]}
        try:
            return getattr(albumentations, name)(**given)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{name} refuses its arguments: {error}", "augment") from error

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
    """A Sample as albumentations takes it. Boxes and keypoints carry their index, to identify them afterwards."""
    targets = {"image": sample.image}
    if sample.mask is not None:
        # OpenCV cannot move int32; class indices fit in uint8 unless there are more than 255
        targets["mask"] = sample.mask.astype(np.uint8 if sample.mask.max() <= VOID else np.int16)
    if sample.boxes is not None:
        targets["bboxes"] = np.column_stack([sample.boxes, np.arange(len(sample.boxes))])
    if sample.instance_masks is not None and len(sample.instance_masks):
        targets["masks"] = sample.instance_masks
    if sample.keypoints is not None and sample.keypoints.size:
        # albumentations measures keypoints from the center of the first pixel, this package from its corner
        points = np.concatenate([sample.keypoints[..., :2].reshape(-1, 2), frame(sample.image)]) - 0.5
        targets["keypoints"] = np.column_stack([points, np.arange(len(points))])
    return targets


def _labels(sample: Sample, moved: dict, partners: np.ndarray | None) -> Sample:
    """The Sample for albumentations' result."""
    changes = {"image": moved["image"]}
    height, width = moved["image"].shape[:2]
    if "mask" in moved:
        changes["mask"] = moved["mask"].astype(np.int32)
    if "masks" in moved:
        changes["instance_masks"] = (moved["masks"] == 1).astype(np.uint8)  # void does not belong to an object
    elif sample.instance_masks is not None:
        changes["instance_masks"] = np.zeros((0, height, width), np.uint8)
    if "keypoints" in moved:
        # the last three points are the image's frame
        points = np.concatenate([sample.keypoints.reshape(-1, 3), np.zeros((3, 3), np.float32)])
        rows = np.asarray(moved["keypoints"], np.float32).reshape(-1, 3)
        rows[:, :2] += 0.5
        # with reflection a point appears several times: the one inside the image is written last and stays
        rows = rows[np.argsort(inside(rows, height, width), kind="stable")]
        points[:, :2] = -1
        points[rows[:, 2].astype(int), :2] = rows[:, :2]
        changes["keypoints"] = points[:-3].reshape(sample.keypoints.shape)
        if partners is not None and mirrored(points[-3:, :2]):
            changes["keypoints"] = changes["keypoints"][:, partners]
    if sample.boxes is not None:
        boxes = np.zeros_like(sample.boxes)
        rows = np.asarray(moved["bboxes"], np.float32).reshape(-1, 5) if len(moved["bboxes"]) else np.zeros((0, 5))
        rows = rows[np.argsort((rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]), kind="stable")]
        boxes[rows[:, 4].astype(int)] = rows[:, :4]  # if a box appears several times, the largest stays
        changes["boxes"] = boxes
    return cut(sample, changes)
