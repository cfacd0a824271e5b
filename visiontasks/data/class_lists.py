"""Finds the list of classes beside a table, which gives their order and the names of those that are ids."""

import json
import re
from collections.abc import Collection
from pathlib import Path

from visiontasks.data.table import Table, plain, read_rows
from visiontasks.data.text import decode
from visiontasks.errors import DataError

_CLASS_FILES = {"class", "classes", "classlist", "classmap", "classmapping", "classnames", "labelmap"}
_SPEAKS = re.compile(r"class|label|categor|attribute|species|breed|name", re.IGNORECASE)
_WRAPPED = ("categories", "classes", "names", "labels", "label_map")  # keys of a JSON file around its list
_LARGEST = 2**20  # bytes: annotations may be as many gigabytes
_NAMED, _UNFIT = (
    "class ids of the table, named by the list of classes beside it",
    "list of classes that does not give each class id of the table one name of its own, not used",
)


def lists_classes(path: Path) -> bool:
    """Whether a table of this name lists classes, and no images as Roboflow's _classes.csv does."""
    return not path.name.startswith("_") and plain(path.stem) in _CLASS_FILES


def listed_classes(table: Table, used: Collection[str], report) -> dict[str, str]:
    """{id: class name} in the order of the ids, of a list of classes beside a table; {} without one.

    That is a classes.csv (name,id), whatever the table has; or, where the table has ids, a CSV or JSON file that gives
    each of them one name of its own, such as labels.csv of attribute_id,attribute_name or {"0": "cat"}. What names ids
    is reported, and what looks like a list and does not name them.

    Args:
        table: the table.
        used: the classes that it has.
        report: see above.
    """
    used = set(used)
    ids = bool(used) and all(map(_is_id, used))
    for path in _beside(table.path):
        sure = path.suffix == ".csv" and lists_classes(path)
        if not sure and not ids:
            continue
        found = _entries(path, used)
        names = {} if found is None else {one: found[one] for one in sorted(found, key=int)}
        if names and (sure or used <= names.keys()):
            if used <= names.keys():
                report.noted(_NAMED, str(path))
            return names
        if sure:
            report.noted("list of classes that is not name,id with each once, not used", str(path))
        elif found is not None:
            report.noted(_UNFIT, str(path))
    return {}


def _beside(table: Path) -> list[Path]:
    """The files that may list classes, those that are named so first."""
    files = [
        path
        for path in sorted(table.parent.iterdir())
        if path.suffix in (".csv", ".json") and path != table and path.is_file()
    ]
    files = [path for path in files if not path.name.startswith((".", "_")) and _SPEAKS.search(path.stem)]
    return sorted(files, key=lambda path: not lists_classes(path))


def _entries(path: Path, used) -> dict[str, str] | None:
    """{id: name} of a file; {} if a class has no id or name of its own; None if it is nothing like a list."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        pairs = _of_json(path, used) if path.suffix == ".json" else _of_csv(path)
    except (OSError, ValueError, DataError):
        return None
    if pairs is None:
        return None
    found = dict(pairs)
    return found if len(found) == len(set(found.values())) == len(pairs) else {}


def _of_csv(path) -> list[tuple[str, str]] | None:
    """The (id, name) of each row: the only column of whole numbers, and the only other one or the one called so."""
    rows = [[cell.strip() for cell in cells] for _, cells in read_rows(path, None)[0]]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return None
    header = [] if any(map(_is_id, rows[0])) else rows.pop(0)
    columns = list(zip(*rows, strict=True))
    ids = [number for number, cells in enumerate(columns) if all(map(_is_id, cells))]
    names = [number for number, cells in enumerate(columns) if all(cells) and number not in ids]
    called = [number for number in names if header and "name" in plain(header[number])]
    names = called if len(names) > 1 else names
    if len(ids) != 1 or len(names) != 1:
        return None
    pairs = list(zip(columns[ids[0]], columns[names[0]], strict=True))
    # a table of images has many with one label
    return pairs if lists_classes(path) or len(set(columns[names[0]])) * 2 > len(pairs) else None


def _of_json(path, used) -> list[tuple[str, str]] | None:
    """The (id, name) of each class in {id: name}, {name: id}, [{id: …, name: …}, …] or [name, …]."""
    given = json.loads(decode(path.read_bytes()))
    if isinstance(given, dict):
        given = next((given[key] for key in _WRAPPED if isinstance(given.get(key), dict | list)), given)
    if isinstance(given, list) and all(isinstance(one, dict) for one in given):
        given = {one.get("id"): one.get("name") for one in given}
    elif isinstance(given, list):
        # counted from 0, unless a number is as high as the list is long
        first = max(map(int, used)) == len(given) and "0" not in used
        given = dict(enumerate(given, start=first)) if first or "0" in used else {}
        if not given:
            return []
    if not isinstance(given, dict) or not given:
        return None
    pairs = [(str(key), value) for key, value in given.items()]
    if all(_is_id(str(value)) and not _is_id(key) for key, value in pairs):
        pairs = [(str(value), key) for key, value in pairs]
    fits = all(_is_id(key) and isinstance(value, str) and value.strip() for key, value in pairs)
    return [(key, value.strip()) for key, value in pairs] if fits else None


def _is_id(cell: str) -> bool:
    return re.fullmatch(r"\d+", cell) is not None
