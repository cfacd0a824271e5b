"""Finds the files that annotations name, whatever the tool that exported them did to their names."""

import functools
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

from visiontasks.data.images import files_below, is_image_name
from visiontasks.errors import DataError

SHOWN = 3  # names in an error
_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of files that were uploaded to Label Studio


class Finder:
    """Finds files in a folder by the names in an annotation file.

    A name is taken as it is; else with / for backslashes and percent signs decoded; else in another letter case or
    Unicode form; else, of an absolute path of another machine or a path with other first folders, by its end, where
    exactly one file below the folder has the longest; else without the prefix of eight digits that Label Studio puts
    before names. A name may lack the suffix. Links that the user has made are followed. A name never leads out of the
    folder.

    Args:
        root: the folder that the names are relative to.
        report: gets what was mended, and what is missing; None: nobody is told.
        accepts: whether a file of a name counts.
        missing: what the report says of a name that leads to no file.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        report=None,
        accepts: Callable[[str], bool] = is_image_name,
        missing: str = "image missing, skipped",
    ):
        self.root, self.report, self.accepts, self.missing = Path(root), report, accepts, missing
        self._stems: dict[Path, set[str]] = {}

    def find(self, name: str, where: str | os.PathLike = "", argument: str | None = "root") -> Path | None:
        """The file, or None if it is missing, which is reported.

        Args:
            name: as it is written.
            where: the file and line that name it, for errors.
            argument: of the source, that names the folder.

        Raises:
            DataError: the name leads out of the folder, and no file in it has such an end.
        """
        path, mended = self._found(name)
        if path is None:
            if inside(self.root, name) is None:
                raise DataError(
                    f"{where}{': ' * bool(str(where))}{name}: expected a file in {self.root}, but it lies outside, and "
                    "no file below has such an end; give a folder that contains it, or put it there.",
                    argument,
                )
            if self.report is not None:
                self.report.skipped(mended or self.missing, str(self.root / _plain(name)))
        elif mended and self.report is not None:
            self.report.noted(mended, name)
        return path

    def has(self, name: str) -> bool:
        """Whether the name leads to a file."""
        return self._found(name)[0] is not None

    def at_once(self, name: str) -> bool:
        """Whether the name leads to a file without a search; it may lack the suffix."""
        name = _plain(name)
        if self.accepts(posixpath.basename(name)) or self._file(name):
            return self._file(name) is not None
        folder, stem = posixpath.split(name)
        home = inside(self.root, folder) if stem else None
        return home is not None and stem in self._stems_in(home)

    def none_found(self, where, names: Iterable[str], argument: str | None = "root") -> DataError:
        """The error for a file of which no name leads to a file."""
        names = list(names)
        shown = ", ".join(name[:80] for name in names[:SHOWN]) + ", …" * (len(names) > SHOWN)
        return DataError(
            f"{where}: expected image files, got none of the {len(names)} that it names in {self.root} or below "
            f"({shown}); give the folder that contains them.",
            argument,
        )

    def _stems_in(self, folder: Path) -> set[str]:
        """The names without suffixes of a folder's own files."""
        if folder not in self._stems:
            names = os.listdir(folder) if os.path.isdir(folder) else ()
            self._stems[folder] = {posixpath.splitext(name)[0] for name in names if self.accepts(name)}
        return self._stems[folder]

    def _found(self, name) -> tuple[Path | None, str]:
        """(the file, what was wrong with its name or "")."""
        if path := self._file(name):
            return path, ""
        plain = _plain(name)
        if plain != name and (path := self._file(plain)):
            return path, "file name with backslashes" if "\\" in name else "percent-encoded file name"
        parts, whole = _folded(plain).split("/"), self.accepts(posixpath.basename(plain))
        named = self._by_name if whole else self._by_stem
        fits, mended = named.get(parts[-1], ()), ""
        if not fits and (bare := _PREFIX.sub("", parts[-1])) != parts[-1]:
            parts[-1], fits, mended = bare, named.get(bare, ()), "file name with a prefix of Label Studio"
        first, slash, _ = plain.removeprefix("./").partition("/")
        if slash and first not in ("", "..") and os.path.isdir(self.root / first):
            fits = [fit for fit in fits if fit[0][0] == parts[0]]  # not a foreign folder: it is in there, or missing
        ends = [_common(parts, keys) for keys, _ in fits]
        best = [fit for fit, end in zip(fits, ends, strict=True) if end == max(ends)]
        if len(best) != 1:
            return None, "file name that fits several files, skipped" if best else ""
        ((keys, path),) = best
        if len(keys) == len(parts) == max(ends):
            return path, mended or ("file name in another letter case or Unicode form" if whole else "")
        return path, mended or "file name with other folders, found by its end"

    def _file(self, name) -> Path | None:
        path = inside(self.root, name) if name else None
        return path if path is not None and os.path.isfile(path) else None

    @functools.cached_property
    def _by_name(self) -> dict[str, list[tuple[list[str], Path]]]:
        """{a file's folded name: [(folded folders and name, file)]}."""
        return self._index(lambda name: name)

    @functools.cached_property
    def _by_stem(self):
        return self._index(lambda name: posixpath.splitext(name)[0])

    def _index(self, of_name):
        found = {}
        for folder, names in files_below(self.root):
            folders = _folded(folder.relative_to(self.root).as_posix()).split("/")
            folders = [] if folders == ["."] else folders
            for name in filter(self.accepts, names):
                key = _folded(of_name(name))
                found.setdefault(key, []).append(([*folders, key], folder / name))
        return found


def inside(root: Path, name: str) -> Path | None:
    """`root`/`name`, unless the name leads out of the folder, by .. or an absolute path; links are the user's own."""
    if not _is_absolute(name):
        plain = posixpath.normpath(name.replace("\\", "/"))
        return None if plain == ".." or plain.startswith("../") else Path(root, name)
    path = os.path.normpath(name)
    bases = (os.path.abspath(root), os.path.realpath(root))
    base = next((base for base in bases if path == base or path.startswith(base.rstrip(os.sep) + os.sep)), None)
    return None if base is None else Path(root, os.path.relpath(path, base))


def _plain(name: str) -> str:
    """A name with / between its folders, and without %20."""
    name = name.replace("\\", "/")
    if "://" in name:  # of a store, whose links may have a signature
        name = name.partition("?")[0]
    return unquote(name) if "%" in name else name


def folded(name: str) -> str:
    """What names that differ in letter case and Unicode form have in common."""
    return unicodedata.normalize("NFC", name).casefold()


def _folded(path: str) -> str:
    return folded(posixpath.normpath(path))


def _is_absolute(name: str) -> bool:
    return name.startswith("/") or os.path.isabs(name)


def _common(one: list[str], other: list[str]) -> int:
    """How many of the last entries are equal."""
    pairs = list(zip(reversed(one), reversed(other), strict=False))
    return next((number for number, (a, b) in enumerate(pairs) if a != b), len(pairs))
