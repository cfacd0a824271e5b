"""Tells from a folder's layout which source reads it."""

import functools
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from visiontasks.data.sources.source import Source
from visiontasks.errors import DataError
from visiontasks.recipe import catalog

# more exact layouts first: an annotation file says more than folders, and folders more than a table
PRECEDENCE = ("coco", "voc", "yolo", "masks", "folder", "boxes", "csv")
INHERITED = (
    "names",
    "values",
    "delimiter",
    "separator",
    "one_based",
    "max_pixels",
)  # how labels are read, not where they lie


def detect(root: str | Path, wanted: Iterable[str] = ()) -> tuple[dict[str, dict | None], str]:
    """What a recipe would say under `data` of the data set in a folder, and one sentence on what was found.

    Args:
        root: the folder.
        wanted: Sample fields that the heads learn from; a source that gives more of them goes before one with fewer.
            Among equals the order is `PRECEDENCE`, then by name.

    Returns:
        {"train": {"source": name, its arguments}, "val": the same or None} and the sentence.

    Raises:
        DataError: no such folder, or no source knows its layout; the text lists the layouts.
    """
    # absolute, so that a run's recipe still finds its data when it is evaluated from another folder
    root, wanted = Path(root).expanduser().resolve(), frozenset(wanted)
    if not root.is_dir():
        raise DataError(f"data: expected a folder, got {root}, which is none.")
    found, layouts = [], []
    for name, part in catalog.parts("data/sources").items():
        source = part.load()
        if source.LAYOUT is None:
            continue
        layouts.append(f"  {name}: {source.LAYOUT}")
        arguments = source.recognise(root)
        if arguments is not None:
            place = PRECEDENCE.index(name) if name in PRECEDENCE else len(PRECEDENCE)
            found.append((-len(wanted & source.fields), place, name, arguments))
    if not found:
        seen = sorted(p.name + "/" * p.is_dir() for p in root.iterdir() if not p.name.startswith("."))
        raise DataError(
            f"data: {root} is laid out for no source; it holds {', '.join(seen[:8]) or 'nothing'}"
            + (", …" if len(seen) > 8 else "")
            + ". Expected one of\n"
            + "\n".join(layouts)
            + "\nor name a source: data.train.source=… with its arguments."
        )
    _, _, name, arguments = min(found, key=lambda entry: entry[:3])
    parts = {part: {"source": name, **arguments[part]} if part in arguments else None for part in ("train", "val")}
    others = sorted(entry[2] for entry in found if entry[2] != name)
    return parts, (
        f"{root}: read as {name}, {_validation(root, parts['val'])}"
        + (f" (it could also be read as {', '.join(others)})." if others else ".")
    )


def _validation(root: Path, arguments: dict | None) -> str:
    if arguments is None:
        return "without a validation part"
    places = (str(place).removeprefix(str(root)).lower() for place in arguments.values())
    if any(re.search(r"(^|[/\\._-])test\d*([/\\.]|$)", place) for place in places):
        return "its test part taken for validation: the best checkpoint is chosen by it"
    return "with a validation part"


def inherit(part: dict | Source, other: dict | Source | None) -> dict | Source:
    """A part read as another one of the same source is: with its class names, mask values and separators."""
    if not isinstance(part, dict) or not isinstance(other, dict) or part.get("source") != other.get("source"):
        return part
    return {**{key: value for key, value in other.items() if key in INHERITED}, **part}


def same_pictures(train: Source, val: Source) -> list[tuple[str, str]]:
    """(training file, validation file) for each validation picture whose bytes are also a training picture's.

    Files of a size that the other part has none of are not opened. Each pair is also noted in `val.report`.
    """
    by_size: dict[int, list[Path]] = {}
    for path in _files_of(train):
        by_size.setdefault(path.stat().st_size, []).append(path)
    digest = functools.cache(lambda path: hashlib.blake2b(path.read_bytes(), digest_size=16).digest())
    pairs = []
    for path in _files_of(val):
        for other in by_size.get(path.stat().st_size, ()):
            if digest(other) == digest(path):
                pairs.append((str(other), str(path)))
                val.report.add("picture that is in the training part too", str(path))
                break
    return pairs


def _files_of(source: Source) -> Iterable[Path]:
    paths = (Path(source.describe(index)) for index in range(len(source)))
    return (path for path in paths if path.is_file())
