"""The order of classes, and the list of them beside their ids, which gives these names."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from visiontasks.data.images import is_image_name
from visiontasks.data.table import CLASS, plain, read_rows
from visiontasks.data.text import content_of, decode, read_lines

_CLASS_FILES = {"class", "classes", "classlist", "classmap", "classmapping", "classnames", "labelmap"}
_TEXT_FILES = {*_CLASS_FILES, "labels", "names", "categories"}  # without a suffix that tells them from other text
# of a line of text; else it is a name alone
_ID_NAME, _NAME_ID = (
    re.compile(r"(?P<id>\d+)[\s:,;=]+(?P<name>.+)"),
    re.compile(r"(?P<name>.+?)[\s:,;=]+(?P<id>\d+)"),
)
_SPEAKS = re.compile(r"class|label|categor|attribute|species|breed|name", re.IGNORECASE)
_WRAPPED = ("categories", "classes", "names", "labels", "label_map")  # keys of a JSON file around its list
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_LARGEST = 2**20  # bytes: annotations may be as many gigabytes
_NAMED, _UNFIT = (
    "class ids, named by the list of classes beside them",
    "list of classes that does not give each class id one name of its own, not used",
)


def lists_classes(path: Path) -> bool:
    """Whether a table of this name lists classes, and no images as Roboflow's _classes.csv does."""
    return not path.name.startswith("_") and plain(path.stem) in _CLASS_FILES


def in_order(names: Iterable[str]) -> list[str]:
    """Class names, each once and sorted: numbers by their value, before the others."""
    return sorted(set(names), key=lambda name: (0, float(name), name) if _NUMBER.fullmatch(name) else (1, 0, name))


def are_ids(names: Collection[str]) -> bool:
    """Whether all names, and at least one, are whole numbers."""
    return bool(names) and all(map(is_id, names))


def listed_classes(place: Path, used: Collection[str], names: Sequence[str] | None, report) -> dict[str, str]:
    """{id: class name} in the order of the ids, of a list of classes beside a table or folders; {} without one.

    That is a classes.csv (name,id), whatever the table has; or, where it has ids, a CSV, JSON or text file that gives
    each of them one name of its own, such as labels.csv of attribute_id,attribute_name or {"0": "cat"}. Names alone are
    counted from 0 or 1, if the ids say which. What names ids is reported, and what looks like a list and does not name
    them.

    Args:
        place: the table, or the folder of the list.
        used: the classes that the table or the folders have.
        names: the classes that were given, or None. Where these are the ids, no list is needed.
        report: see above.
    """
    used = set(used)
    if names is not None and used <= set(map(str, names)):
        return {}
    ids = are_ids(used)
    for path in _beside(place):
        sure = path.suffix == ".csv" and lists_classes(path)
        if not sure and not ids:
            continue
        found = _entries(path, used)
        listed = {} if found is None else {one: found[one] for one in sorted(found, key=int)}
        if listed and (sure or used <= listed.keys()):
            if used <= listed.keys():
                report.noted(_NAMED, str(path))
            return listed
        if sure:
            report.noted("list of classes that is not name,id with each once, not used", str(path))
        elif found is not None:
            report.noted(_UNFIT, str(path))
    return {}


def _beside(place: Path) -> list[Path]:
    """The files that may list classes, those that are named so first."""
    files = [
        path
        for path in sorted((place if place.is_dir() else place.parent).iterdir())
        if path != place
        and (path.suffix in (".csv", ".json") or path.suffix == ".txt" and plain(path.stem) in _TEXT_FILES)
    ]
    files = [path for path in files if not path.name.startswith((".", "_")) and _SPEAKS.search(path.stem)]
    files = [path for path in files if path.is_file()]
    return sorted(files, key=lambda path: not lists_classes(path))


def _entries(path: Path, used) -> dict[str, str] | None:
    """{id: name} of a file; {} if a class has no id or name of its own; None if it is nothing like a list."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        pairs = {".json": _of_json, ".csv": _of_csv, ".txt": _of_text}[path.suffix](path, used)
    except (OSError, ValueError, RecursionError):
        return None
    if pairs is None:
        return None
    found = dict(pairs)
    return found if len(found) == len(set(found.values())) == len(pairs) else {}


def _of_csv(path, used) -> list[tuple[str, str]] | None:
    """The (id, name) of each row: the only column of whole numbers, and the only other one or the one called so.

    A single column has names alone, as the names.csv of Stanford Cars.
    """
    rows = [[cell.strip() for cell in cells] for _, cells in read_rows(path, None)[0]]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return None
    if len(rows[0]) == 1:
        return _numbered([name for (name,) in rows[plain(rows[0][0]) in CLASS :]], used)
    header = [] if any(map(is_id, rows[0])) else rows.pop(0)
    columns = list(zip(*rows, strict=True))
    ids = [number for number, cells in enumerate(columns) if all(map(is_id, cells))]
    names = [number for number, cells in enumerate(columns) if all(cells) and number not in ids]
    called = [number for number in names if header and "name" in plain(header[number])]
    names = called if len(names) > 1 else names
    if len(ids) != 1 or len(names) != 1:
        return None
    pairs = list(zip(columns[ids[0]], columns[names[0]], strict=True))
    # a table of images has many with one label
    return pairs if lists_classes(path) or len(set(columns[names[0]])) * 2 > len(pairs) else None


def _of_text(path, used) -> list[tuple[str, str]] | None:
    """The (id, name) of each line, such as 1 rose, 1: rose or rose 1; or of names alone."""
    lines = read_lines(path, "a list of classes")
    if any(is_image_name(word) for line in lines for word in re.split(r"[\s,;]+", line)):
        return None
    for form in (_ID_NAME, _NAME_ID):
        found = [match for line in lines if (match := form.fullmatch(line))]
        pairs = {(match["id"], match["name"]) for match in found}
        if len(found) == len(lines) == len(dict(pairs)) == len({name for _, name in pairs}):
            return list(pairs)
    return _numbered(lines, used)


def _numbered(names, used) -> list[tuple[str, str]] | None:
    """The (id, name) of names alone, counted from 0, unless an id is as high as the list is long; [] if it is open."""
    if not names or are_ids(names) or any(is_image_name(word) for name in names for word in name.split()):
        return None
    first = max(map(int, used)) == len(names) and "0" not in used
    return [(str(number), name) for number, name in enumerate(names, start=first)] if first or "0" in used else []


def _of_json(path, used) -> list[tuple[str, str]] | None:
    """The (id, name) of each class in {id: name}, {name: id}, [{id: …, name: …}, …] or [name, …]."""
    given = json.loads(decode(content_of(path)))
    if isinstance(given, dict):
        given = next((given[key] for key in _WRAPPED if isinstance(given.get(key), dict | list)), given)
    if isinstance(given, list) and all(isinstance(one, dict) for one in given):
        given = {one.get("id"): one.get("name") for one in given}
    elif isinstance(given, list):
        return _numbered(given, used) if all(isinstance(one, str) and one.strip() for one in given) else None
    if not isinstance(given, dict) or not given:
        return None
    pairs = [(str(key), value) for key, value in given.items()]
    if all(is_id(str(value)) and not is_id(key) for key, value in pairs):
        pairs = [(str(value), key) for key, value in pairs]
    fits = all(is_id(key) and isinstance(value, str) and value.strip() for key, value in pairs)
    return [(key, value.strip()) for key, value in pairs] if fits else None


def is_id(name: str) -> bool:
    """Whether a class is a whole number."""
    return re.fullmatch(r"\d+", name) is not None
