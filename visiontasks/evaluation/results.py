"""Folders for results, marked so that no command reads them as data, and files in them."""

import array
import bisect
import contextlib
import hashlib
import itertools
import json
import math
import os
import re
import textwrap
from pathlib import Path

from visiontasks import signals, writing
from visiontasks.data.layout import RESULTS
from visiontasks.errors import UserError
from visiontasks.instance_masks import InstanceMasks

_PART = 100  # bytes of a name within a file's name
# a run's folder, and results of other commands: no evaluation replaces them
RUN = "recipe.yaml"
_OTHERS = (RUN, "predictions.json", "check.json")
INCOMPLETE = "incomplete.txt"  # beside results that are not of all images


def results_folder(asked: str | None, default: Path, replace: bool = False, of: str = "") -> Path:
    """Create and mark a folder for results: the one asked for, else `default`, or a new `default_2`, ….

    Args:
        asked: the folder of `out=`, or None.
        default: the folder if none is asked for.
        replace: whether the results of an earlier evaluation may be replaced; where none is asked for, only those `of`
            the same.
        of: what the results are of, such as the path of the images.

    Raises:
        UserError: the folder asked for is not empty, another process writes to it, or it cannot be written.
    """
    if asked is None:
        numbered = (default.with_name(f"{default.name}_{number}") for number in itertools.count(2))
        usable = (path for path in itertools.chain([default], numbered) if _are_of(path, of) or not replace)
        return next(path for path in usable if _taken(path, exist_ok=replace, of=of))
    path = Path(asked)
    live = path.is_dir() and next(filter(writing.is_live, writing.unfinished(path)), None)
    if live:
        raise UserError(
            f"another process writes to {path}. Give another folder, or wait until it ends. If it was killed on "
            f"another machine or in another container, remove {live}.",
            "out",
        )
    if not _is_free(path, replace):
        what = "is a file"
        if path.is_dir():
            names = sorted(p.name for p in path.iterdir() if p.name != RESULTS)
            what = f"is not empty ({', '.join(names[:3])}{', …' * (len(names) > 3)})"
        raise UserError(f"{path} {what}, and existing files are not replaced. Give a new folder.", "out")
    _taken(path, exist_ok=True, of=of)
    return path


def _taken(path, exist_ok, of) -> bool:
    """Create and mark a folder; False if it exists, or another process has just created it."""
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        return False
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror}. Give another folder.", "out") from error
    writing.write_text(path / RESULTS, of, "out", errors="backslashreplace")
    writing.remove_unfinished(path)
    return True


def _is_free(path, replace):
    """Whether a folder is new or empty but for its mark, or has results that may be replaced."""
    if not path.exists():
        return True
    inside = [one for one in path.iterdir() if not writing.is_unfinished(one)] if path.is_dir() else [path]
    names = {one.name for one in inside}
    return names <= {RESULTS} or replace and RESULTS in names and names.isdisjoint(_OTHERS)


def _are_of(path, of):
    """Whether a folder has no results, or results of the same."""
    mark = path / RESULTS
    return not of or not mark.is_file() or mark.read_text(encoding="utf-8", errors="replace") == of


def file_part(name: str) -> str:
    """A name as a part of a file's name: different for different names, short, and without path separators."""

    def escaped(match):
        return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogatepass"))

    return shortened(re.sub(r"[^\w. -]|^\.", escaped, name), _PART)


def shortened(name: str, most: int = writing.LONGEST) -> str:
    """A name of a file of at most so many bytes: of a longer one the beginning, and a hash of the whole."""
    content = os.fsencode(name)
    if len(content) <= most:
        return name
    digest = hashlib.sha256(content).hexdigest()[:12]
    return f"{content[: most - len(digest) - 1].decode(errors='ignore')}-{digest}"


# names of files may be no Unicode: JSON has an escape for each of their bytes
_TEXT = {"encoding": "utf-8", "errors": "backslashreplace"}
_END = b"\n]\n"


class Records:
    """A JSON file of a list, written record by record, so that long videos need little memory.

    The file is there as soon as the block ends, whole: until then another one of its name stays what it was.

    Args:
        path: the file.
        indent: spaces of indentation inside a record; by default a record is one line.
        argument: what chose the folder, for errors.
        partial: whether a block that an error or a stop at the end of a step ends leaves the records so far, if any.
            On a full disk they are those that it took.

    Attributes:
        count: the number of records.

    Raises:
        UserError: the file cannot be written; what is there stays, but for `partial`.
    """

    def __init__(self, path: Path, indent: int | None = None, argument: str | None = None, partial: bool = False):
        self.path, self.argument, self.partial, self._indent = path, argument, partial, indent
        self._ends = array.array("Q")  # of the records, in bytes
        self._temporary = writing.temporary_of(path)
        with self._writing():
            self._file = self._temporary.open("wb")

    @property
    def count(self) -> int:
        return len(self._ends)

    def add(self, record: dict):
        """Append one record; NaN becomes null."""
        text = json.dumps(_finite(record), indent=self._indent, ensure_ascii=False, allow_nan=False)
        text = (",\n" if self.count else "[\n") + textwrap.indent(text, "  ")
        content = text.encode(**_TEXT)
        with self._writing():
            self._file.write(content)
        self._ends.append((self._ends[-1] if self.count else 0) + len(content))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self._file.closed:  # it could not be written
            return
        # a second signal comes at any moment, also within `add`
        if kind is None or self._keeps(kind):
            with self._writing():
                self._file.write(_END if self.count else b"[]\n")
                self._file.close()
                writing.finish(self._temporary, self.path)
        else:
            self._discard()

    def _keeps(self, kind) -> bool:
        """Whether a block that an exception ends leaves the records so far."""
        return self.partial and self.count > 0 and issubclass(kind, (Exception, signals.Stopped))

    @contextlib.contextmanager
    def _writing(self):
        try:
            with writing.naming(self.path, self.argument):
                yield
        except BaseException as error:
            with contextlib.suppress(OSError):
                if self._keeps(type(error)):
                    self._finish_what_is_there()
            self._discard()
            raise

    def _finish_what_is_there(self):
        """Finish the file with the records that are on the disk, less those whose room the end of the list needs."""
        with contextlib.suppress(OSError):  # what the disk has not taken
            self._file.close()
        with self._temporary.open("r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            del self._ends[bisect.bisect_right(self._ends, size - len(_END)) :]
            if self.count:
                file.truncate(self._ends[-1])
                file.seek(0, os.SEEK_END)
                file.write(_END)
        if self.count:
            writing.finish(self._temporary, self.path)

    def _discard(self):
        with contextlib.suppress(AttributeError, OSError):  # not opened; what the disk has not taken
            self._file.close()
        writing.discard(self._temporary)


def write_json(path: Path, value, argument: str | None = None):
    """Write `value` as JSON; NaN becomes null. A file that is there is replaced whole or, on an error, not at all.

    Raises:
        UserError: it cannot be written; names `argument`, what chose the folder.
    """
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    writing.write_text(path, text + "\n", argument, **_TEXT)


def with_polygons(value):
    """JSON-ready values whose masks in COCO's run lengths are polygons instead: [[x1, y1, x2, y2, …], …], in pixels.

    No task but `Instances` writes {"size", "counts"}.
    """
    if isinstance(value, dict) and value.keys() == {"size", "counts"}:
        return [polygon.ravel().tolist() for polygon in InstanceMasks([value], value["size"]).outlines(0)]
    if isinstance(value, dict):
        return {key: with_polygons(one) for key, one in value.items()}
    return [with_polygons(one) for one in value] if isinstance(value, list) else value


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
