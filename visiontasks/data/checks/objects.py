"""Looks for suspicious boxes and masks."""

from collections.abc import Sequence

import numpy as np

from visiontasks.data.checks.classes import single_objects
from visiontasks.data.checks.findings import WARNING, Finding
from visiontasks.data.checks.looking import Seen
from visiontasks.ops import numpy_boxes
from visiontasks.sample import VOID

TINY = 3.0  # pixels: the width or height below which a box shows nothing
WHOLE = 0.98  # the share of an image's width and of its height from which a box is the whole image
SAME = 0.95  # the overlap of two boxes (intersection over union) from which they are at the same place
IDENTICAL = 0.5  # pixels by which the edges of boxes that are one differ
_ROWS = 128  # boxes that are compared with all at once: an image may have thousands


def check_boxes(split: str, label_set: str, seen: Sequence[Seen], scale_to: tuple[int, int] | None) -> list[Finding]:
    """What is wrong with the boxes of a split.

    Args:
        split: its name.
        label_set: whose boxes; "" for the one without a name.
        seen: the images.
        scale_to: (height, width) of a network's canvas, in whose pixels boxes may be tiny too; None: the image's.
    """
    found: dict[str, list[str]] = {}
    for one in seen:
        labels = one.of(label_set)
        if labels.get("boxes") is None or not len(labels["boxes"]):
            continue
        boxes, classes, size = labels["boxes"], labels["classes"], np.array(one.size[::-1])
        objects = single_objects(labels)
        sides = boxes[:, 2:] - boxes[:, :2]
        canvas = size if scale_to is None else np.minimum(size, scale_to[::-1])
        tiny = (sides * canvas / size).min(axis=1) < TINY
        whole = (sides >= WHOLE * size).all(axis=1)
        for number in objects:
            at = f"{one.name}, object {number + 1}"
            for kind, there in (("tiny_box", tiny), ("whole_image_box", whole)):
                if there[number]:
                    found.setdefault(kind, []).append(at)
        for first, second, identical in _same_place(boxes, objects):
            kind = "other_class_box" if classes[first] != classes[second] else "identical_box"
            if kind == "other_class_box" or identical:
                found.setdefault(kind, []).append(f"{one.name}, objects {first + 1} and {second + 1}")
    where = "on the network's canvas" if scale_to else "in the image"
    texts = {
        "tiny_box": f"box less than {TINY:g} pixels wide or high {where}; a larger image size shows more of it",
        "whole_image_box": "box of the whole image; if it says what the image shows, a classifier learns that",
        "identical_box": "box that is there twice, with one class; remove one of the two",
        "other_class_box": "pair of boxes of different classes at one place; remove the wrong one",
    }
    return [
        Finding(kind, WARNING, f"{len(found[kind])} × {text}", len(found[kind]), found[kind], split)
        for kind, text in texts.items()
        if kind in found
    ]


def _same_place(boxes, objects):
    """(first, second, whether they are identical) of objects at one place."""
    for start in range(0, len(objects), _ROWS):
        some = objects[start : start + _ROWS]
        same = numpy_boxes.iou(boxes[some], boxes[objects[start:]]) >= SAME
        for row, column in zip(*np.nonzero(np.triu(same, 1)), strict=True):
            one, other = some[row], objects[start + column]
            yield one, other, np.abs(boxes[one] - boxes[other]).max() <= IDENTICAL


def check_masks(split: str, label_set: str, seen: Sequence[Seen]) -> list[Finding]:
    """What is wrong with the masks of a split: those of classes and those of objects."""
    void, empty, without, objects = [], [], 0, []
    for one in seen:
        labels = one.of(label_set)
        if (counted := labels.get("mask")) is not None:
            labeled = np.delete(counted, VOID) if len(counted) > VOID else counted
            if not labeled.any():
                void.append(one.name)
            elif not labeled[1:].any():
                empty.append(one.name)
        if (known := labels.get("instance_masks")) is not None:
            missing = ~known & ~labels["ignored"] if "ignored" in labels else ~known
            without += int(missing.sum())
            objects += [one.name] * bool(missing.any())
    several = any(len(one.of(label_set).get("mask", ())) > 1 for one in seen)
    found = [("void_mask", void, len(void), "mask without a labeled pixel")]
    if several:
        found.append(("empty_mask", empty, len(empty), "mask without foreground: it has class 0 alone"))
    found.append(("no_instance_mask", objects, without, "object without a mask: only its box is learned"))
    return [Finding(kind, WARNING, f"{n} × {text}", n, names, split) for kind, names, n, text in found if n]
