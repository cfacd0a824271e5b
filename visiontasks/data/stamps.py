"""Which files a data set consists of, and what has changed in them since."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from visiontasks.data.fingerprints import fingerprint
from visiontasks.data.images import files_below
from visiontasks.data.listing import files_at
from visiontasks.data.scan import scan
from visiontasks.errors import UserError
from visiontasks.writing import write_text

MOST_NAMED = 3  # files in a sentence
NO_PATHS = ("source", "set", "names")  # arguments of a source that are names, whatever folder is called so
JUNK = ("thumbs.db", "desktop.ini")  # what Windows leaves in a folder that somebody looks at


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
    """What has changed between two `stamps`, of which the first has fingerprints; "" if nothing has.

    Where only the time differs, as after a copy, the contents decide: the file is read now.
    """
    gone, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
    other = [path for path in before.keys() & now.keys() if not _same(path, before[path], now[path])]
    parts = [(gone, "missing"), (new, "new"), (sorted(other), "changed")]
    return ", ".join(f"{_named(paths)} {_verb(paths, what)} {what}" for paths, what in parts if paths)


def digest(files: Mapping[str, list]) -> str:
    """A line that differs if the names or sizes of two `stamps` do; times differ between copies of the same files."""
    sizes = sorted((path, size) for path, (size, *_) in files.items())
    total = sum(size or 0 for _, size in sizes)
    mark = hashlib.sha256(json.dumps(sizes).encode("ascii")).hexdigest()[:16]
    return f"{len(sizes)} files of {total} bytes, whose names and sizes have the digest {mark}"


def write_stamps(path: Path, files: Mapping[str, list], names: Mapping):
    """Write `stamps` and the class names of a source as JSON."""
    text = json.dumps({"names": names, "files": files}, ensure_ascii=True)
    write_text(path, text, "dir", encoding="ascii")


def read_stamps(path: Path) -> tuple[dict[str, list], dict]:
    """(stamps, class names) of a file of `write_stamps`.

    Raises:
        UserError: it cannot be read.
    """
    try:
        read = json.loads(path.read_text(encoding="ascii"))
        return read["files"], read["names"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}), so whether the data are the same is not known. Start a new run.",
            "resume",
        ) from error


def _same(path, before, now):
    (size, time, content), (size_now, time_now, content_now) = before, now
    if size != size_now or (content_now is None and time == time_now):
        return size == size_now
    return (content_now or fingerprint(path)) == content


def _named(paths):
    left = len(paths) - MOST_NAMED
    return ", ".join(paths[:MOST_NAMED]) + (f" and {left} other{'s' * (left > 1)}" if left > 0 else "")


def _verb(paths, what):
    one = len(paths) == 1
    return ("has" if one else "have") if what == "changed" else ("is" if one else "are")


def _texts(described) -> Iterator[str]:
    if isinstance(described, str):
        yield described
    elif isinstance(described, Mapping):
        yield from _texts([value for key, value in described.items() if key not in NO_PATHS])
    elif isinstance(described, (list, tuple)):
        for one in described:
            yield from _texts(one)


def _files(text) -> Iterator[Path]:
    path = Path(text)
    try:
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from (folder / n for folder, names in files_below(path) for n in names if n.lower() not in JUNK)
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
