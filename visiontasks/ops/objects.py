"""`Objects`: the objects of a batch's images, as detectors learn from them."""

from typing import NamedTuple

from keras import ops


class Objects(NamedTuple):
    """The ground truth of B images with G entries for objects of C classes.

    Attributes:
        boxes: float32 (B, G, 4) in pixels.
        classes: int32 (B, G), -1 = no object here.
        valid: bool (B, G), the objects to learn; the other entries are empty or ignored.
        ignored: bool (B, G), regions that are neither object nor background.
        known: bool (B, C), the classes of which all objects are listed. Of other classes nothing is background.
        complete: bool (B,), whether all classes are known.
        labeled: bool (B,), whether the image has a known class or an object.
    """

    boxes: object
    classes: object
    valid: object
    ignored: object
    known: object
    complete: object
    labeled: object


def objects(targets: dict, classes: int) -> Objects:
    """The `Objects` of targets `boxes`, `classes`, and optionally `known` (B, C) and `ignored` (B, G).

    Without the last two, all classes are known and nothing is ignored.

    Args:
        targets: of a batch, by field name.
        classes: number of classes, C.
    """
    numbers = ops.cast(targets["classes"], "int32")
    listed = numbers >= 0
    known, ignored = targets.get("known"), targets.get("ignored")
    known = ops.ones((ops.shape(numbers)[0], classes), "bool") if known is None else ops.cast(known, "bool")
    ignored = ops.zeros_like(listed) if ignored is None else ops.logical_and(listed, ops.cast(ignored, "bool"))
    valid = ops.logical_and(listed, ops.logical_not(ignored))
    return Objects(
        ops.cast(targets["boxes"], "float32"),
        numbers,
        valid,
        ignored,
        known,
        ops.all(known, axis=-1),
        ops.logical_or(ops.any(known, axis=-1), ops.any(valid, axis=-1)),
    )
