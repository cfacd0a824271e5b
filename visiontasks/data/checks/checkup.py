"""`Checkup`: what a training and a validation set hold, and all that was found wrong with them."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from visiontasks.data.checks.classes import check_classes, counts, single
from visiontasks.data.checks.duplicates import duplicates
from visiontasks.data.checks.findings import LEVELS, Finding
from visiontasks.data.checks.images import check_images, check_report
from visiontasks.data.checks.keypoints import check_keypoints
from visiontasks.data.checks.looking import Seen, look
from visiontasks.data.checks.objects import check_boxes, check_masks
from visiontasks.data.load import DEFAULT_FIELDS, check_names
from visiontasks.data.sources.source import Source
from visiontasks.sample import by_set, named
from visiontasks.skeleton import Skeleton

VERSION = 1  # of `to_json`; it changes if a key changes its meaning or goes, not if one is added
STATUS = ("clean", "warnings", "errors")  # by exit code
_QUANTILES = {"least": 0, "median": 0.5, "most": 1}
_GRID = 3  # rows and columns in which boxes' centers are counted


@dataclasses.dataclass(frozen=True, eq=False)
class Checkup:
    """What a data set holds, and what was found.

    Args:
        reading: the sentence that says what the data were read as.
        fields: the labels that were looked at.
        sources: {"train": Source, "val": Source}.
        seen: what was kept of each split's images.
        counted: {split: {field: how often each class occurs}}.
        findings: the worst first.
    """

    reading: str
    fields: tuple[str, ...]
    sources: dict[str, Source]
    seen: dict[str, Sequence[Seen]]
    counted: dict[str, dict[str, np.ndarray]]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 clean, 1 warnings, 2 errors; notes are clean."""
        return max((LEVELS.index(finding.level) for finding in self.findings), default=0)

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The class names of the fields that have some."""
        return class_names(self.sources["train"], self.fields)

    def to_json(self) -> dict:
        """JSON-ready values, see docs/check.md."""
        return {
            "version": VERSION,
            "status": STATUS[self.exit_code],
            "reading": self.reading,
            "fields": list(self.fields),
            "splits": {split: self._split(split) for split in self.seen},
            "findings": [finding.to_json() for finding in self.findings],
        }

    def _split(self, split) -> dict:
        seen = self.seen[split]
        sizes = np.array([one.size for one in seen]).reshape(-1, 2)
        described = {
            "images": len(self.sources[split]),
            "readable": len(seen),
            "classes": {
                field: dict(zip(self.names[field], number.tolist(), strict=True))
                for field, number in self.counted[split].items()
            },
            "height": quantiles(sizes[:, 0]),
            "width": quantiles(sizes[:, 1]),
            "brightness": quantiles([one.brightness for one in seen]),
        }
        objects = {key: self._objects(key, seen) for key, given in by_set(self.fields).items() if "boxes" in given}
        return described | {"objects": objects}

    def _objects(self, label_set, seen) -> dict:
        shares, numbers, ignored = boxes_of(seen, label_set)
        sides = shares[:, 2:] - shares[:, :2]
        centers = np.clip((shares[:, :2] + shares[:, 2:]) / 2 * _GRID, 0, _GRID - 1).astype(int)
        ninths = np.zeros((_GRID, _GRID), int)
        np.add.at(ninths, (centers[:, 1], centers[:, 0]), 1)
        return {
            "count": int(numbers.sum()),
            "ignored": ignored,
            "images_without": int((numbers == 0).sum()),
            "per_image": quantiles(numbers),
            "size": quantiles(np.sqrt(sides.prod(axis=1))),
            "centers": ninths.tolist(),
        }


def boxes_of(seen: Sequence[Seen], label_set: str) -> tuple[np.ndarray, np.ndarray, int]:
    """(float (N, 4), the boxes as shares of their images; how many each image has; how many more are ignored)."""
    boxes, numbers, ignored = [np.zeros((0, 4))], [], 0
    for one in seen:
        labels = one.of(label_set)
        kept = single(labels, "boxes") if "boxes" in labels else np.zeros((0, 4))
        boxes.append(kept / np.tile(one.size[::-1], 2))
        numbers.append(len(kept))
        ignored += len(labels.get("boxes", ())) - len(kept)
    return np.concatenate(boxes), np.array(numbers, int), ignored


def quantiles(values: Iterable[float]) -> dict[str, float] | None:
    """The least, the median and the most; None of no values."""
    values = np.asarray(values, float)
    return {key: round(float(np.quantile(values, q)), 4) for key, q in _QUANTILES.items()} if len(values) else None


def class_names(source: Source, fields: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The class names of those of the fields that have some; keypoints' are no classes."""
    return {
        field: tuple(map(str, source.names[field]))
        for field in fields
        if field in source.names and field.rpartition("/")[2] != "keypoints"
    }


def fields_to_check(source: Source) -> tuple[str, ...]:
    """What is looked at where no recipe says it: objects with all they have, else label, tags; and masks."""
    fields = []
    for label_set, given in sorted(by_set(source.fields - source.derived).items()):
        kinds = ("boxes", "classes", "keypoints", "instance_masks", "mask") if "boxes" in given else DEFAULT_FIELDS
        fields += named(label_set, [kind for kind in kinds if kind in given])
    return tuple(fields)


def check_sources(
    train: Source, val: Source, fields: Sequence[str] = (), size: tuple[int, int] | None = None, reading: str = ""
) -> Checkup:
    """Look at every image of two sources once.

    Args:
        train, val: the sources.
        fields: the labels to look at, such as boxes or vehicles/boxes; by default see `fields_to_check`.
        size: (height, width) that a network sees; None: the images'.
        reading: see `Checkup`.

    Raises:
        DataError: the sets have different classes.
    """
    fields = tuple(fields) or fields_to_check(train)
    # whose objects are looked at needs all that belongs to them
    for label_set, given in by_set(fields).items():
        if given.keys() & {"keypoints", "instance_masks", "classes"}:
            fields = tuple(dict.fromkeys((*named(label_set, ("boxes", "classes")), *fields)))
    sources = {"train": train, "val": val}
    check_names(train, val, fields)
    seen = {split: look(source, fields, f"Looking at {split} images")[0] for split, source in sources.items()}
    names = class_names(train, fields)
    counted = {split: counts(images, names) for split, images in seen.items()}
    findings = []
    reports = {id(source.report): (split, source.report) for split, source in sources.items()}
    for split, report in reports.values():  # sets that were split share one
        findings += check_report(report, split if len(reports) > 1 else "")
    for split, images in seen.items():
        findings += check_images(split, images)
        for label_set, given in by_set(fields).items() if images else ():
            if "boxes" in given:
                findings += check_boxes(split, label_set, images, size)
            if "keypoints" in given:
                skeleton = Skeleton.of(sources[split].names[given["keypoints"]])
                findings += check_keypoints(split, label_set, images, skeleton)
            findings += check_masks(split, label_set, images)
    if all(seen.values()):
        findings += check_classes(counted, names)
    if train.normal_alone:  # no class is missing, and a mask without a defect is right
        findings = [
            one for one in findings if one.kind != "empty_mask" and (one.kind, one.split) != ("class_missing", "train")
        ]
    findings += duplicates(seen)
    findings.sort(key=lambda finding: -LEVELS.index(finding.level))
    return Checkup(reading, fields, sources, seen, counted, tuple(findings))
