"""Looks at every image of a source once, at reduced size, with its labels in the pixels of the whole image."""

import dataclasses
import hashlib
from collections.abc import Sequence

import cv2
import numpy as np

from visiontasks.data.derived import Derived, Mixed, Named
from visiontasks.data.images import bytes_of, decode_small
from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Files, Source
from visiontasks.errors import BadImage
from visiontasks.sample import FIELDS, by_set

THUMBNAIL = 64  # pixels of width and height


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What is kept of one image.

    Args:
        index: its number in its source.
        name: its file, or its name in its source.
        size: (height, width).
        brightness: the mean of its gray values, 0..255.
        contrast: their standard deviation.
        fingerprint: of the file's content, or of the pixels where there is no file.
        thumbnail: uint8 (THUMBNAIL, THUMBNAIL), gray.
        labels: {label set: {field: value}}; a `mask` is the number of its pixels by class, int64 (C,),
            and `instance_masks` is bool (N,): which objects have one.
    """

    index: int
    name: str
    size: tuple[int, int]
    brightness: float
    contrast: float
    fingerprint: str
    thumbnail: np.ndarray
    labels: dict[str, dict]

    def of(self, label_set: str) -> dict:
        """The labels of one set; an empty dict if it has none."""
        return self.labels.get(label_set, {})


def look(source: Source, fields: Sequence[str], what: str = "Looking at images") -> tuple[list[Seen], list[str]]:
    """(what is kept of each image, the names of those that cannot be read, which `source.report` has too).

    Args:
        fields: the labels to keep, such as boxes or vehicles/boxes.
        what: labels the progress bar.
    """

    def caught(index):
        try:
            return _look(source, index, fields)
        except BadImage as error:
            return error

    seen, unreadable = [], []
    for one in scan(caught, range(len(source)), what):
        if isinstance(one, BadImage):
            source.report.skipped(f"{one.reason}, skipped", one.path)
            unreadable.append(one.path)
        else:
            seen.append(one)
    return seen, unreadable


def _look(source, index, fields) -> Seen:
    number, name, label_set = index, source.describe(index), ""
    while isinstance(source, Derived):
        if isinstance(source, Named):
            label_set = source.label_set
            fields = [field.removeprefix(f"{label_set}/") for field in fields if field.startswith(f"{label_set}/")]
        outer, (source, number) = source, source.locate(number)
        if isinstance(outer, Mixed):  # it derives nothing for which another of its sources has labels
            fields = [field for field in fields if field in outer.derived or field not in source.derived]
    if isinstance(source, Files):
        path, *item = source.items[number]
        data = bytes_of(path)
        image, size = decode_small(data, path, THUMBNAIL, source.report, source.max_pixels, source.bits)
        labels = {label_set: source.labels(*item, size, fields)}
    else:
        sample = source.read(number, fields)
        image, size, data = sample.image, sample.image.shape[:2], sample.image.tobytes()
        labels = {label_set: sample.labels, **{key: one.labels for key, one in sample.sets.items()}}
    wanted = by_set(fields) if not label_set else {label_set: by_set(fields).get("", {})}
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    mean, deviation = (float(value.item()) for value in cv2.meanStdDev(gray))
    return Seen(
        index,
        name,
        size,
        mean,
        deviation,
        hashlib.blake2b(data, digest_size=16).hexdigest(),
        cv2.resize(gray, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA),
        {key: _kept(labels.get(key, {}), names) for key, names in wanted.items()},
    )


def _kept(labels, wanted) -> dict:
    """The wanted labels that there are, and `ignored`, masks as numbers alone."""
    kept = {name: labels[name] for name in (*wanted, "ignored") if name in FIELDS and labels.get(name) is not None}
    if "mask" in kept:
        kept["mask"] = np.bincount(kept["mask"].ravel())
    if "instance_masks" in kept:
        kept["instance_masks"] = kept["instance_masks"].known
    return kept
