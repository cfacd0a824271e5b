"""Counts classes, and looks for those that are rare or missing from a split."""

from collections.abc import Mapping, Sequence

import numpy as np

from visiontasks.data.checks.findings import ERROR, NOTE, WARNING, Finding
from visiontasks.data.checks.looking import Seen

UNEVEN, VERY_UNEVEN = 10, 50  # how many times more often the most frequent class occurs than the rarest
# of one class that a set lacks, and of several
_LOST = {
    "train": ("it cannot be learned", "they cannot be learned"),
    "val": ("its score says nothing", "their scores say nothing"),
}


def counts(seen: Sequence[Seen], names: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """{field: int64 (C,)}: how many images have a label or tag, how many objects a class, how many pixels a mask's.

    Args:
        seen: the images of a split.
        names: of the classes, by field, such as {"vehicles/classes": (…)}; keypoints are none.
    """
    counted = {}
    for key, classes in names.items():
        label_set, _, field = key.rpartition("/")
        total = np.zeros(len(classes), np.int64)
        for one in seen:
            value = one.of(label_set).get(field)
            if value is None:
                continue
            if field == "mask":
                total += np.bincount(np.arange(min(len(value), len(total))), value[: len(total)], len(total)).astype(
                    int
                )
            elif field == "label":
                total += np.arange(len(total)) == value
            elif field == "tags":
                total += value > 0
            elif field == "classes":
                total += np.bincount(single(one.of(label_set), "classes"), minlength=len(total))
        counted[key] = total
    return counted


def single(labels: dict, field: str) -> np.ndarray:
    """A field of the objects that are not ignored."""
    values, ignored = labels[field], labels.get("ignored")
    return values if ignored is None else values[~ignored]


def check_classes(counted: Mapping[str, Mapping[str, np.ndarray]], names: Mapping[str, Sequence[str]]) -> list[Finding]:
    """What is wrong with the classes.

    Args:
        counted: {split: what `counts` gives}.
        names: of the classes, by field.
    """
    findings = []
    for field, classes in names.items():
        unit = {"mask": "pixels", "classes": "objects"}.get(field.rpartition("/")[2], "images")
        for split, by_field in counted.items():
            number = by_field[field]
            if not number.any():
                text = f"{field}: nothing is labeled; nothing can be learned"
                findings.append(Finding("no_labels", ERROR, text, len(classes), split=split))
                continue
            missing = [classes[n] for n in np.flatnonzero(number == 0)]
            if missing:
                lost = _LOST[split][len(missing) > 1]
                text = f"{field}: {len(missing)} of {len(classes)} classes have no {unit} in this set: {lost}"
                findings.append(Finding("class_missing", WARNING, text, len(missing), missing, split))
        findings += _check_balance(field, classes, counted["train"][field], unit)
    return findings


def _check_balance(field, classes, number, unit) -> list[Finding]:
    there = np.flatnonzero(number)
    if field.rpartition("/")[2] == "mask" or len(there) < 2:  # background outweighs what lies on it
        return []
    most, least = there[number[there].argmax()], there[number[there].argmin()]
    if number[most] < UNEVEN * number[least]:
        return []
    level = WARNING if number[most] >= VERY_UNEVEN * number[least] else NOTE
    text = (
        f"{field}: {classes[most]} has {number[most]} {unit}, {classes[least]} has {number[least]}; of rare classes "
        "little is learned: collect more of them"
    )
    rare = [classes[n] for n in there if number[most] >= UNEVEN * number[n]]
    return [Finding("imbalance", level, text, len(rare), rare, "train")]
