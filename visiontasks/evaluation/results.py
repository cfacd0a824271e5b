"""Folders for results, marked so that no command reads them as data, and files in them."""

import json
import math
import re
import textwrap
from pathlib import Path

from visiontasks.data.layout import RESULTS
from visiontasks.errors import UserError
from visiontasks.instance_masks import InstanceMasks


def results_folder(asked: str | None, default: Path, replace: bool = False, of: str = "") -> Path:
    """Create and mark a folder for results: the one asked for, else `default`, or a new `default_2`, ….

    Args:
        asked: the folder of `out=`, or None.
        default: the folder if none is asked for.
        replace: whether existing results may be replaced; where none is asked for, only those `of` the same.
        of: what the results are of, such as the path of the images.

    Raises:
        UserError: the folder asked for is not empty, or cannot be written.
    """
    path, number = Path(default if asked is None else asked), 2
    while asked is None and not (_are_of(path, of) if replace else _is_free(path, replace)):
        path, number = default.with_name(f"{default.name}_{number}"), number + 1
    if asked is not None and not _is_free(path, replace):
        names = sorted(p.name for p in path.iterdir() if p.name != RESULTS) if path.is_dir() else ["it is a file"]
        listed = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise UserError(
            f"{path} is not empty ({listed}), and existing files are not replaced. Give a new folder.", "out"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / RESULTS).write_text(of, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror}. Give another folder.", "out") from error
    return path


def _is_free(path, replace):
    if not path.exists():
        return True
    return path.is_dir() and (not any(path.iterdir()) or replace and (path / RESULTS).exists())


def _are_of(path, of):
    """Whether a folder has no results, or results of the same."""
    mark = path / RESULTS
    return not of or not mark.is_file() or mark.read_text(encoding="utf-8", errors="replace") == of


def file_part(name: str) -> str:
    """A name as a part of a file's name: different for different names, and without path separators."""
    return re.sub(r"[^\w. -]|^\.", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), name)


class Records:
    """A JSON file of a list, written record by record, so that long videos need little memory.

    Args:
        path: the file.
        indent: spaces of indentation inside a record; by default a record is one line.

    Attributes:
        count: the number of records.
    """

    def __init__(self, path: Path, indent: int | None = None):
        self._file, self._indent, self.count = path.open("w", encoding="utf-8"), indent, 0

    def add(self, record: dict):
        """Append one record; NaN becomes null."""
        text = json.dumps(_finite(record), indent=self._indent, ensure_ascii=False, allow_nan=False)
        text = textwrap.indent(text, "  ")
        self._file.write((",\n" if self.count else "[\n") + text)
        self.count += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.write("\n]\n" if self.count else "[]\n")
        self._file.close()


def write_json(path: Path, value):
    """Write `value` as JSON; NaN becomes null."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


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
