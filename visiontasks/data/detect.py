"""Finds the source that can read a folder, from the folder's layout."""

import functools
import os
import re
from collections.abc import Iterable
from pathlib import Path

from visiontasks.data.fingerprints import fingerprint
from visiontasks.data.foreign import foreign_formats
from visiontasks.data.images import list_images
from visiontasks.data.layout import RESULTS, folders_in
from visiontasks.data.sources.source import Overruled, Source
from visiontasks.data.table import parsed_once
from visiontasks.errors import DataError
from visiontasks.registry import catalog

# the most specific layouts first: an annotation file says more than folders, and folders more than a table; a list
# gives classes alone, of the whole image
PRECEDENCE = (
    "mvtec",
    "listed",
    "coco",
    "voc",
    "yolo",
    "points",
    "labelme",
    "instances",
    "masks",
    "folder",
    "boxes",
    "csv",
)
INHERITED = (
    "names",
    "values",
    "colors",
    "void",
    "delimiter",
    "separator",
    "columns",
    "flags",
    "scale_boxes",
    "one_based",
    "max_pixels",
    "set",
    "skeleton",
    "crowd",
    "class_name",
    "margin",
)  # how labels are read, not where they are
TEST_USED = "with its test set used for validation"
_DEPTH, _MOST = 3, 50  # levels, and folders of the deeper ones, in which a data set is looked for


@parsed_once()
def detect(root: str | Path, wanted: Iterable[str] = (), known: bool = False) -> tuple[dict[str, dict | None], str]:
    """Describe the data set in a folder as a recipe's `data` would, with one sentence for the user.

    Args:
        root: the folder; or a file in it that describes it, such as a data.yaml.
        wanted: fields that the heads learn from. The source that gives most of them is chosen, where a derived one
            counts half; among equals the order is `PRECEDENCE`, then by name.
        known: whether a model knows the classes, so that a folder of one class can be scored.

    Returns:
        {"train": {"source": name, its arguments}, "val": the same or None}, and the sentence.

    Raises:
        DataError: the folder does not exist, or no source recognizes its layout; the text lists the layouts.
    """
    # absolute, so that a run's recipe works when it is evaluated from another folder
    root, wanted = Path(os.path.expanduser(root)).resolve(), {field.rpartition("/")[2] for field in wanted}
    if not root.is_dir() and not root.is_file():
        raise DataError(f"expected a folder, got {root}, which is not a folder.", "data")
    candidates, reasons = _readings(root, wanted)
    if known and not candidates:
        candidates = _known_readings(root)
    entered = ""
    if not candidates and root.is_file():
        came = "; ".join(f"as {name}: {reason}" for name, reason in reasons.items()) or "no source reads it"
        raise DataError(f"expected a folder, or a file such as data.yaml or COCO's JSON, got {root}: {came}.", "data")
    if not candidates:
        inner = _readings_below(root, wanted)
        if len(inner) != 1:
            raise _unrecognized(root, reasons if inner else _reasons_within(root, wanted) | reasons, inner)
        ((folder, (candidates, reasons)),) = inner.items()
        root, entered = folder, f" (entered, because nothing else in {root} is a data set)"
    given, _, name, arguments = min(candidates, key=lambda entry: entry[:3])
    splits = {key: {"source": name, **arguments[key]} if key in arguments else None for key in ("train", "val")}
    others = sorted(entry[2] for entry in candidates if entry[2] != name)
    notes = [f"it could also be read as {', '.join(others)}"] if others else []
    if not wanted or given:
        notes += [f"not as {other}: {why}" for other, why in reasons.items() if isinstance(why, Overruled)]
    else:
        notes += [*foreign_formats(root), *(f"not as {other}: {reason}" for other, reason in reasons.items())]
    return splits, (
        f"{root}{entered}: read as {name}, {_validation(root, splits['val'])}"
        + (f" ({'; '.join(notes)})." if notes else ".")
    )


def _readings(root: Path, wanted: set[str]) -> tuple[list[tuple[float, int, str, dict]], dict[str, str]]:
    """([(minus how many wanted fields it gives, rank, source, arguments)], {source: why it is not its layout})."""
    candidates, reasons = [], {}
    for name, part in catalog.parts("data/sources").items():
        source = part.load()
        if source.LAYOUT is None:
            continue
        arguments = (source.recognize_file if root.is_file() else source.recognize_for)(root, wanted)
        if isinstance(arguments, str):
            reasons[name] = arguments
        elif arguments is not None:
            rank = PRECEDENCE.index(name) if name in PRECEDENCE else len(PRECEDENCE)
            given = len(wanted & source.fields) - len(wanted & source.fields & source.derived) / 2
            candidates.append((-given, rank, name, arguments))
    return candidates, reasons


def _readings_below(root: Path, wanted: set[str]) -> dict[Path, tuple[list, dict]]:
    """{folder: its `_readings`} of the folders that have some, on the first level below that has one."""
    level = _folders(root)
    for _ in range(_DEPTH):
        inner = {folder: _readings(folder, wanted) for folder in level}
        inner = {one: found for one, found in inner.items() if any(entry[0] for entry in found[0]) or not wanted}
        inner = {folder: found for folder, found in inner.items() if found[0]}
        if inner:
            beside = (one for folder in level if folder not in inner for one in _folders(folder))
            classes = all(entry[2] == "folder" for found, _ in inner.values() for entry in found)
            nested = len(inner) == 1 and classes and any(list_images(one, recursive=False) for one in beside)
            lost = (one for one in level if one not in inner and one.name.lower() in ("val", "valid", "validation"))
            # of nested class folders one with several is not all, and a validation set is not left out
            return {} if nested or any(map(list_images, lost)) else inner
        level = [inner for folder in level for inner in _folders(folder)]
        if len(level) > _MOST:
            break
    return {}


def _reasons_within(folder: Path, wanted: set[str]) -> dict[str, str]:
    """{source: why the only folder in a folder, or the only one in that, is not its layout}."""
    reasons = {}
    for _ in range(_DEPTH):
        if len(inner := _folders(folder)) != 1:
            break
        (folder,) = inner
        reasons = _readings(folder, wanted)[1] | reasons
    return reasons


def _known_readings(root):
    """As `_readings`, of the sources that accept more because the classes are known."""
    sources = {name: part.load() for name, part in catalog.parts("data/sources").items()}
    found = {name: source.recognize_known(root) for name, source in sources.items()}
    return [(0, 0, name, arguments) for name, arguments in found.items() if arguments]


def _folders(root: Path) -> list[Path]:
    return [folder for folder in folders_in(root) if not (folder / RESULTS).exists()]


def _unrecognized(root, reasons, inner) -> DataError:
    seen = sorted(p.name + "/" * p.is_dir() for p in root.iterdir() if not p.name.startswith("."))
    text = f"no source recognizes the layout of {root}; it holds {', '.join(seen[:8]) or 'nothing'}"
    text += (", …" if len(seen) > 8 else "") + "."
    if inner:
        shown = ", ".join(str(folder) for folder in list(inner)[:8])
        return DataError(f"{text} Several folders in it are data sets of their own; give one: {shown}.", "data")
    lines = [f"  {found}" for found in foreign_formats(root)]
    lines += [f"  {name}: {reason}" for name, reason in reasons.items()]
    if lines:
        return DataError("\n".join([f"{text} What comes near:", *lines, "`--help sources` lists all layouts."]), "data")
    sources = {name: part.load() for name, part in catalog.parts("data/sources").items()}
    layouts = [f"  {name}: {source.LAYOUT}" for name, source in sources.items() if source.LAYOUT is not None]
    return DataError(
        text + "\nExpected one of\n" + "\n".join(layouts) + "\nor name a source with its arguments.",
        "data",
    )


def _validation(root: Path, arguments: dict | None) -> str:
    if arguments is None:
        return "without a validation set"
    paths = (str(path).removeprefix(str(root)).lower() for path in arguments.values())
    if any(re.search(r"(^|[/\\._-])test(ing|images)?\d*([/\\._-]|$)", path) for path in paths):
        return TEST_USED
    return "with a validation set"


def inherit(split, other):
    """A split with the class names, mask values, separators and label set of another split of the same source.

    In a list it is the only entry with the same source and set; if several match, nothing is inherited.
    """
    if isinstance(split, (list, tuple)):
        return [inherit(one, other) for one in split]
    if not isinstance(split, dict):
        return split
    others = [one for one in (other if isinstance(other, (list, tuple)) else [other]) if isinstance(one, dict)]
    others = [one for one in others if all(split.get(key, one.get(key)) == one.get(key) for key in ("source", "set"))]
    if len(others) != 1:
        return split
    return {**{key: value for key, value in others[0].items() if key in INHERITED}, **split}


def same_images(train: Source, val: Source) -> list[tuple[str, str]]:
    """(training file, validation file) for each validation image whose bytes equal a training image's.

    Only files of equal size are read. Each pair is also noted in `val.report`.
    """
    by_size: dict[int, list[Path]] = {}
    for path in _files_of(train):
        by_size.setdefault(path.stat().st_size, []).append(path)
    digest = functools.cache(fingerprint)
    pairs = []
    for path in _files_of(val):
        for other in by_size.get(path.stat().st_size, ()):
            if digest(other) == digest(path):
                pairs.append((str(other), str(path)))
                val.report.noted("image that is in the training set too", str(path))
                break
    return pairs


def _files_of(source: Source) -> Iterable[Path]:
    paths = (Path(source.describe(index)) for index in range(len(source)))
    return (path for path in paths if path.is_file())
