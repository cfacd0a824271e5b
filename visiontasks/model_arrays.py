"""Checks what `fit` and `evaluate` are given: NumPy arrays, as readers check files, and the class names of a Loader."""

import numpy as np

from visiontasks.errors import DataError
from visiontasks.sample import NO_OBJECT, UNLABELED, VOID, check_boxes, check_numbers, check_tags


def check(heads: dict, x, y=None, where: str = ""):
    """Raise unless images and targets are what the heads learn from.

    Checks NumPy arrays only: a loader's samples are checked when they are read.

    Args:
        heads: {name: Head}.
        x: uint8 images (N, H, W, 3), or a dict of "image" and targets by field.
        y: targets by field, or the array of the only field of the only head, or None: they are in `x`.
        where: what the arrays were given as, if not as x and y.

    Raises:
        ValueError: an array has the wrong type, rank, size or values; the text names it and the fix.
    """
    images = x.get("image") if isinstance(x, dict) else x
    targets = x if y is None else y
    if isinstance(images, np.ndarray):
        _check_images(images, where)
        size = images.shape[1:3]
    else:
        size = None
    for name, head in heads.items():
        given = targets
        if isinstance(targets, np.ndarray) and y is not None and len(heads) == len(head.fields) == 1:
            given = {head.prefix(()) + head.fields[0]: targets}
        if not isinstance(given, dict):
            continue
        prefix, label_set = head.prefix(given), head.label_set(given)
        for field in head.fields:
            if field in _CHECKS and isinstance(label_set.get(field), np.ndarray):
                _CHECKS[field](f"{where}{prefix}{field}", label_set[field], name, len(head.classes), size, label_set)


def is_loader(x) -> bool:
    """Whether `x` is a Loader of this package, which the model does not import."""
    return all(hasattr(x, name) for name in ("source", "fields", "names", "size", "resize"))


def check_names(heads, loader, where: str = ""):
    """Raise unless a Loader has the heads' class names, in the same order.

    For a head that was given a number of classes only the number counts; for labels without class names, nothing.

    Args:
        heads: the Heads.
        loader: a Loader; nothing else that Keras takes is checked.
        where: what the loader was given as, if not as x.

    Raises:
        DataError: they differ.
    """
    if not is_loader(loader):
        return
    for head in heads:
        field = head.prefix(loader.fields) + head.fields[0]
        given = tuple(loader.names.get(field, ()))
        fits = len(given) == len(head.classes) if head.numbered else given == head.classes
        if given and not fits:
            raise DataError(
                f"expected the model's class names of {field!r}, {list(head.classes)}, got {list(given)}. Give the "
                "loader's source names=[…] with the model's classes in this order.",
                f"{where}data",
            )
        points = tuple(loader.names.get(head.prefix(loader.fields) + "keypoints", ()))
        if head.skeleton is not None and points != tuple(head.skeleton):
            raise DataError(
                f"expected the model's keypoints, {list(head.skeleton)}, got {list(points)}. Give data with these, in "
                "this order.",
                f"{where}data",
            )


def not_uint8(dtype, where: str = "") -> ValueError:
    """The error of images that are not whole numbers."""
    return ValueError(
        f"{where}image: expected uint8 images with values 0..255, got {dtype}; the model normalizes them itself. Give "
        'images.astype("uint8"), times 255 first if they are in 0..1.'
    )


def _check_images(images, where):
    if images.dtype.kind not in "iu":
        raise not_uint8(images.dtype, where)
    if images.dtype != np.uint8 and images.size and (images.min() < 0 or images.max() > 255):
        raise ValueError(
            f"{where}image: expected uint8 images with values 0..255, got {images.dtype} from {images.min()} to "
            f"{images.max()}. Scale them to 0..255 and give them as uint8."
        )
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"{where}image: expected RGB images, uint8 (N, H, W, 3), got {_form(images)}.")


def _check_label(field, labels, head, classes, size, label_set):
    if labels.ndim == 2 and labels.shape[1] == classes > 1:
        raise ValueError(f"{field}: expected class numbers (N,), got one-hot {_form(labels)}. Give argmax(axis=-1).")
    if labels.ndim != 1 and labels.shape[1:] != (1,):
        raise ValueError(f"{field}: expected class numbers (N,), got {_form(labels)}.")
    _check_numbers(field, labels, head, classes, UNLABELED, "not labeled")


def _check_tags(field, tags, head, classes, size, label_set):
    if tags.ndim != 2 or tags.shape[1] != classes:
        raise ValueError(
            f"{field}: expected (N, {classes}), a column for each class of {head!r}, got {_form(tags)}. Give 1 where "
            "an image has the tag, 0 where it does not, -1 where it is not labeled."
        )
    check_tags(field, tags)


def _check_mask(field, masks, head, classes, size, label_set):
    expected = f"(N, {size[0]}, {size[1]}) as the images" if size else "(N, H, W)"
    if masks.ndim == 4:
        one_hot = masks.shape[3] > 1
        came, fix = ("one-hot ", "argmax(axis=-1)") if one_hot else ("", "mask[..., 0]")
        raise ValueError(f"{field}: expected class numbers {expected}, got {came}{_form(masks)}. Give {fix}.")
    if masks.ndim != 3 or (size and masks.shape[1:] != tuple(size)):
        raise ValueError(f"{field}: expected class numbers {expected}, got {_form(masks)}.")
    void = masks == VOID
    if void.any() and not void.all() and not masks[~void].any():
        raise ValueError(
            f"{field}: expected class numbers 0, 1, …, and 255 for void, got masks of nothing but 0 and 255, so 255 "
            "seems to be the foreground. Give mask // 255."
        )
    _check_numbers(field, masks, head, classes, VOID, "void")


def _check_classes(field, numbers, head, classes, size, label_set):
    if numbers.ndim != 2:
        raise ValueError(f"{field}: expected class numbers (N, G), one for each box, got {_form(numbers)}.")
    _check_numbers(field, numbers, head, classes, NO_OBJECT, "no object")
    for key, columns in (("known", classes), ("ignored", numbers.shape[1])):
        flags = label_set.get(key)
        if isinstance(flags, np.ndarray) and (flags.dtype != bool or flags.shape != (len(numbers), columns)):
            raise ValueError(
                f"{field.removesuffix('classes')}{key}: expected bool ({len(numbers)}, {columns}), got {_form(flags)}."
            )


def _check_boxes(field, boxes, head, classes, size, label_set):
    numbers = label_set.get("classes")
    if boxes.ndim != 3 or boxes.shape[2] != 4:
        raise ValueError(f"{field}: expected x1, y1, x2, y2 (N, G, 4), got {_form(boxes)}.")
    if not isinstance(numbers, np.ndarray):
        return
    if boxes.shape[:2] != numbers.shape:
        raise ValueError(f"{field}: expected {(*numbers.shape, 4)}, one for each class number, got {_form(boxes)}.")
    objects = boxes[numbers >= 0]
    if objects.size and objects.max() <= 1:
        raise ValueError(
            f"{field}: expected x1, y1, x2, y2 in pixels of the images, got none beyond 1. Multiply shares of the "
            "image by its width and height."
        )
    check_boxes(field, objects, size)


def _check_numbers(field, numbers, head, classes, value, absent):
    note = f", one for each class of {head!r}, or {value} for {absent}"
    check_numbers(field, numbers, classes, value, note)


def _form(array) -> str:
    return f"{array.dtype} {array.shape}"


_CHECKS = {
    "label": _check_label,
    "tags": _check_tags,
    "mask": _check_mask,
    "classes": _check_classes,
    "boxes": _check_boxes,
}
