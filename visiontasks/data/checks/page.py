"""The printed page of a `Checkup`."""

import os

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from visiontasks.data.checks.checkup import STATUS, Checkup, boxes_of
from visiontasks.data.checks.findings import ERROR, NOTE, WARNING
from visiontasks.sample import by_set

MOST_CLASSES = 30  # rows of a table
MOST_NAMES = 3  # of a finding
TITLES = {"train": "training", "val": "validation", "": "both"}
_STYLES = {ERROR: "bold red", WARNING: "yellow", NOTE: "dim"}


def page(checkup: Checkup) -> Group:
    """What was read, a table of the splits, a table of the classes of each field, and the findings."""
    tables = [_splits(checkup), *(_classes(checkup, field) for field in checkup.names)]
    parts = [Text(f"{checkup.reading}\n")] if checkup.reading else []
    for table in tables:
        parts += [table, Text("")]
    folder = _folder(checkup)
    parts += [_finding(finding, folder) for finding in checkup.findings]
    counted = {level: sum(one.level == level for one in checkup.findings) for level in (ERROR, WARNING, NOTE)}
    counts = ", ".join(f"{count} {level}{'s' * (count != 1)}" for level, count in counted.items())
    return Group(*parts, Text(f"{STATUS[checkup.exit_code]}: {counts}"))


def _splits(checkup) -> Table:
    table = Table("least … median … most", *(TITLES[split] for split in checkup.seen), box=None, pad_edge=False)
    described = checkup.to_json()["splits"].values()
    table.add_row("images", *(str(one["images"]) for one in described))
    for key in ("width", "height", "brightness"):
        table.add_row(key, *(_range(one[key]) for one in described))
    for label_set in by_set(checkup.fields):
        prefix = f"{label_set}: " if label_set else ""
        rows = [one["objects"].get(label_set) for one in described]
        if None in rows:
            continue
        ignored = [f" (and {one['ignored']} ignored)" if one["ignored"] else "" for one in rows]
        table.add_row(f"{prefix}objects", *(f"{one['count']}{more}" for one, more in zip(rows, ignored, strict=True)))
        table.add_row(f"{prefix}objects per image", *(_range(one["per_image"]) for one in rows))
        table.add_row(f"{prefix}images without objects", *(str(one["images_without"]) for one in rows))
        table.add_row(f"{prefix}box size (root of its share of the image)", *(_range(one["size"], 3) for one in rows))
        places = [_middle(checkup.seen[split], label_set) for split in checkup.seen]
        table.add_row(f"{prefix}box centers in the middle ninth", *places)
    return table


def _range(values, digits=0) -> str:
    """The least, the median, and the most."""
    if values is None:
        return "-"
    least, median, most = (f"{values[key]:.{digits}f}" for key in ("least", "median", "most"))
    return least if least == most else f"{least} … {median} … {most}"


def _middle(seen, label_set) -> str:
    boxes, _, _ = boxes_of(seen, label_set)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    return f"{(np.abs(centers - 0.5) <= 1 / 6).all(axis=1).mean():.0%}" if len(boxes) else "-"


def _classes(checkup, field) -> Table:
    kind = field.rpartition("/")[2]
    table = Table(field, *(TITLES[split] for split in checkup.seen), box=None, pad_edge=False)
    names, counted = checkup.names[field], [by_field[field] for by_field in checkup.counted.values()]
    order = range(len(names)) if len(names) <= MOST_CLASSES else np.argsort(-counted[0], kind="stable")[:MOST_CLASSES]
    for number in order:
        cells = [_share(one, number) if kind == "mask" else str(one[number]) for one in counted]
        table.add_row(Text(names[number]), *cells)
    if len(names) > MOST_CLASSES:
        table.add_row(f"… and {len(names) - MOST_CLASSES} more")
    return table


def _share(counted, number) -> str:
    return f"{counted[number] / max(1, counted.sum()):.1%}"


def _folder(checkup) -> str:
    """The folder of all images with a separator, which names need not repeat; "" if there is none."""
    folders = {os.path.dirname(one.name) for seen in checkup.seen.values() for one in seen}
    if not folders or not all(map(os.path.isabs, folders)):
        return ""
    return os.path.join(os.path.commonpath(folders), "")


def _finding(finding, folder) -> Text:
    names = [name.replace(folder, "") if folder else name for name in finding.names[:MOST_NAMES]]
    more = "; …" if len(finding.names) > MOST_NAMES else ""
    where = f" [{TITLES[finding.split]}]" if finding.split else ""
    listed = "" if all(name in finding.text for name in names) else f"\n    {'; '.join(names)}{more}"
    return Text.assemble((f"{finding.level}{where} ", _STYLES[finding.level]), f"{finding.text}{listed}")
