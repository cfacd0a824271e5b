"""Which files a data set consists of, and what has changed in them since."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from visiontasks.data.fingerprints import fingerprint
from visiontasks.data.images import files_below
from visiontasks.data.listing import files_at
from visiontasks.data.scan import scan
from visiontasks.writing import replace_atomically

MOST_NAMED = 3  # files in a sentence


def stamps(described, contents: bool = False) -> dict[str, list]:
    """{file: [size, time of its last change in nanoseconds, fingerprint of its content or None]}.

    Args:
        described: the sources' arguments, as in a recipe; each text in them that is a path or a glob counts, a folder
            with all files below it, but none of a folder of results.
        contents: whether to read every file for its fingerprint.
    """
    files = sorted({str(path) for text in _texts(described) for path in _files(text)})
    prints = list(scan(fingerprint, files, "reading the data's files")) if contents else [None] * len(files)
    return {path: [*_size_and_time(path), mark] for path, mark in zip(files, prints, strict=True)}


def changes(before: Mapping[str, list], now: Mapping[str, list]) -> str:
    """What has changed between two `stamps`, in a sentence; "" if nothing has.

    Where both have a fingerprint of a file, it decides instead of the time.
    """
    gone, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
    other = [path for path in before.keys() & now.keys() if not _same(before[path], now[path])]
    parts = [(gone, "missing"), (new, "new"), (sorted(other), "changed")]
    return ", ".join(f"{_named(paths)} {'is' if len(paths) == 1 else 'are'} {what}" for paths, what in parts if paths)


def write_stamps(path: Path, files: Mapping[str, list], names: Mapping):
    """Write `stamps` and the class names of a source as JSON."""
    text = json.dumps({"names": names, "files": files}, ensure_ascii=True)
    replace_atomically(path, lambda temporary: temporary.write_text(text, encoding="ascii"), "dir")


def read_stamps(path: Path) -> tuple[dict[str, list], dict]:
    """(stamps, class names) of a file of `write_stamps`."""
    read = json.loads(path.read_text(encoding="ascii"))
    return read["files"], read["names"]


def _same(before, now):
    if before[2] and now[2]:
        return before[2] == now[2]
    return before[:2] == now[:2]


def _named(paths):
    left = len(paths) - MOST_NAMED
    return ", ".join(paths[:MOST_NAMED]) + (f" and {left} others" if left > 0 else "")


def _texts(described) -> Iterator[str]:
    if isinstance(described, str):
        yield described
    elif isinstance(described, Mapping):
        yield from _texts([value for key, value in described.items() if key != "source"])  # a source's name is no path
    elif isinstance(described, (list, tuple)):
        for one in described:
            yield from _texts(one)


def _files(text) -> Iterator[Path]:
    path = Path(text)
    try:
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from (folder / name for folder, names in files_below(path) for name in names)
        elif "*" in text:
            yield from files_at(text)
    except OSError:  # no path: a text that is too long for one
        return


def _size_and_time(path):
    try:
        found = os.stat(path)
    except OSError:  # a link that leads nowhere
        return [None, None]
    return [found.st_size, found.st_mtime_ns]
