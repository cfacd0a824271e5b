"""`Objects`: what a batch says about the objects of its images, as detectors learn from it."""

from typing import NamedTuple

from keras import ops


class Objects(NamedTuple):
    """The ground truth of B images with room for G objects of C classes.

    Attributes:
        boxes: float32 (B, G, 4) in pixels.
        classes: int32 (B, G), -1 = no object here.
        valid: bool (B, G), the objects to learn; the other entries are empty or ignored.
        ignored: bool (B, G), regions that are neither object nor background.
        known: bool (B, C), the classes whose objects are all listed. Of the others nothing is background.
        complete: bool (B,), whether all classes are known.
        labeled: bool (B,), whether there is anything to learn from: a known class or an object.
    """

    boxes: object
    classes: object
    valid: object
    ignored: object
    known: object
    complete: object
    labeled: object


def objects(targets: dict, classes: int) -> Objects:
    """The `Objects` of targets `boxes`, `classes`, and `known` (B, C) and `ignored` (B, G).

    Arrays made by hand need neither of the last two: then all classes are known, and nothing is ignored.

    Args:
        targets: by field name, of a batch.
        classes: their number, C.
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
