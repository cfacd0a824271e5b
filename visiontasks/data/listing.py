"""Lists the files of a folder or a glob by the patterns of their names."""

import fnmatch
import glob
import os
from collections.abc import Sequence
from pathlib import Path

from visiontasks.data.images import files_below
from visiontasks.data.layout import in_results


def files_like(folder: str | os.PathLike, *patterns: str) -> list[Path]:
    """The files of a folder whose names match one of some patterns such as `*.json`, sorted; no pipes and devices.

    A link that leads nowhere is among them: whoever reads it says that it is missing.
    """
    found = {path for pattern in patterns for path in Path(folder).glob(pattern)}
    return sorted(path for path in found if path.is_file() or not path.exists())


def files_at(pattern: str) -> list[Path]:
    """The files that match a glob such as `photos/*.jpg`, sorted, but none of a folder of results.

    `**` matches any depth; it follows links as `files_below` does, because `glob` would follow a loop without end.
    """
    parts = Path(pattern).parts
    if "**" in parts:
        start = next(n for n, part in enumerate(parts) if glob.has_magic(part))
        listed = (folder / name for folder, names in files_below(Path(*parts[:start])) for name in names)
        paths = (path for path in listed if _matches(path.parts, parts))
    else:
        paths = map(Path, glob.glob(pattern))
    return sorted(path for path in paths if path.is_file() and not in_results(path))


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    if patterns and patterns[0] == "**":
        return any(_matches(parts[n:], patterns[1:]) for n in range(len(parts) + 1))
    if not parts or not patterns:
        return not parts and not patterns
    fits = parts[0] == patterns[0] or fnmatch.fnmatchcase(parts[0], patterns[0])
    return fits and _matches(parts[1:], patterns[1:])
