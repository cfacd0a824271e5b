"""What data hold, as far as nothing need be decoded: a line of images and objects, and one of each field's classes."""

from collections.abc import Iterable

import numpy as np

from visiontasks.data.derived import Derived, Named
from visiontasks.data.sources.csv import Csv
from visiontasks.data.sources.folder import Folder
from visiontasks.data.sources.listed import Listed
from visiontasks.data.sources.source import ObjectFiles, Source

MOST_CLASSES = 12  # named


def summary(train: Source, val: Source, fields: Iterable[str]) -> list[str]:
    """How many images and objects the sets have, and how often each class of the fields occurs in the training set."""
    fields = list(fields)
    counted = {field: _counts(train, field) for field in fields if field in train.names}
    validated = {field: _counts(val, field) for field in counted}
    objects = [
        f"{counted[field].sum()} and {validated[field].sum()} objects"
        for field in counted
        if field.rpartition("/")[2] == "classes" and counted[field] is not None and validated[field] is not None
    ]
    lines = [", ".join([f"{len(train)} training images, {len(val)} validation images", *objects])]
    for field, number in counted.items():
        names = train.names[field]
        if not names:
            continue
        more = f", … and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
        classes = "class" if len(names) == 1 else "classes"
        line = f"{field}: {len(names)} {classes}: {', '.join(names[:MOST_CLASSES])}{more}"
        lines.append(line + _range(number, names) + _missing(number, validated[field]))
    return lines


def _range(number, names) -> str:
    if number is None or np.ptp(number) == 0:
        return ""
    most, least = int(number.argmax()), int(number.argmin())
    return f"; {number[most]} of {names[most]} … {number[least]} of {names[least]}"


def _missing(*counted) -> str:
    missing = [
        f"{(number == 0).sum()} without {split} data"
        for split, number in zip(("training", "validation"), counted, strict=True)
        if number is not None and (number == 0).any()
    ]
    return f" ({', '.join(missing)})" if missing else ""


def _counts(source: Source, field: str) -> np.ndarray | None:
    """int (C,), how often each class of a field occurs; None where images or masks would have to be decoded."""
    total = np.zeros(len(source.names.get(field, ())), int)
    for index in range(len(source)):
        inner, number, label_set = source, index, ""
        while isinstance(inner, Derived):
            label_set = inner.label_set if isinstance(inner, Named) else label_set
            inner, number = inner.locate(number)
        of, _, name = field.rpartition("/")
        classes = _classes(inner, number, name) if of == label_set else ()  # a sample of another label set
        if classes is None:
            return None
        np.add.at(total, np.asarray(classes, int), 1)
    return total


def _classes(source, number, field):
    """The classes of one sample; None if they are not known without decoding."""
    if isinstance(source, ObjectFiles) and field == "classes":
        (objects,) = source.items[number][1:]
        return objects.classes[~objects.ignored]
    if isinstance(source, (Csv, Folder, Listed)):
        value = source.labels(*source.items[number][1:], (1, 1), (field,)).get(field)
        if value is not None:
            return np.flatnonzero(value > 0) if field == "tags" else [value] * (value >= 0)
    return None
