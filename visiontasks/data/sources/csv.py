"""A table of pictures and their tags."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.images import MAX_PIXELS, read_image
from visiontasks.data.sources.source import Source
from visiontasks.data.table import Finder, part_tables, read_table, root_of_pictures
from visiontasks.errors import DataError
from visiontasks.sample import UNLABELLED, Sample

_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "-1": UNLABELLED, "-1.0": UNLABELLED, "": UNLABELLED}


class Csv(Source):
    """A table of pictures and tags, its first row naming the columns; gives `tags`.

    The first column holds the file; then follows either one column of tags with a separator between them, or one
    column a tag of 0 and 1 (-1 or empty: not labelled). No tag is a valid label.

    Args:
        path: the table: UTF-8, UTF-16 or Windows-1252, with or without a byte order mark.
        root: the folder that the table's file names start from; by default the table's.
        delimiter: what stands between columns; by default whichever of , ; and tab the first row has most of.
        separator: what stands between tags; by default ; or | if any row has one, else a comma, else white space.
        names: the tags in their order; by default those in the table, sorted (or in the order of their columns).
        max_pixels: larger pictures are skipped.

    Raises:
        DataError: no table, no picture, no tag, a row of another length, or a tag that `names` lacks; the text names
            the line.
    """

    LAYOUT = "a table of tags: DIR/*.csv whose first column names pictures below DIR, or DIR/{train,val}.csv"
    fields = frozenset({"tags"})

    def __init__(
        self,
        path: str,
        root: str | None = None,
        delimiter: str | None = None,
        separator: str | None = None,
        names: Sequence[str] | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__()
        self.path, self.max_pixels = Path(path), max_pixels
        self.root = self.path.parent if root is None else Path(root)
        header, rows = read_table(self.path, delimiter)
        finder = Finder(self.path, self.root, self.report)
        second = {cells[1].strip() for _, cells in rows}
        flags = len(header) > 2 or (second != {""} and second <= set(_FLAGS))
        tags = self._read_flags(header, rows, names) if flags else self._read_lists(rows, names, separator)
        self._items = [
            (found, row)
            for (line, cells), row in zip(rows, tags, strict=True)
            if (found := finder.find(cells[0].strip(), line)) is not None
        ]
        if not self._items:
            raise finder.none_found(header[0], [cells[0] for _, cells in rows])

    def _read_flags(self, header, rows, names):
        columns = [name.strip() for name in header[1:]]
        names = columns if names is None else [str(name) for name in names]
        missing = [name for name in names if name not in columns]
        if missing:
            raise DataError(f"{self.path}: expected a column for each of names; {missing[0]!r} has none.")
        self.names = {"tags": tuple(names)}
        places = [1 + columns.index(name) for name in names]
        tags = np.zeros((len(rows), len(names)), np.float32)
        for row, (line, cells) in zip(tags, rows, strict=True):
            for number, place in enumerate(places):
                try:
                    row[number] = _FLAGS[cells[place].strip()]
                except KeyError:
                    raise DataError(
                        f"{self.path}, line {line}, column {header[place]!r}: expected 0 or 1 (-1 or empty: not "
                        f"labelled), got {cells[place]!r}. A table of tag names has two columns: file and tags."
                    ) from None
        return tags

    def _read_lists(self, rows, names, separator):
        cells = [cells[1] for _, cells in rows]
        if separator is None:  # None splits at white space
            separator = next((s for s in ";|," if any(s in cell for cell in cells)), None)
            if separator is None and any(len(cell.split()) > 1 for cell in cells):
                self.report.add("table with tags split at white space (separator= says otherwise)", str(self.path))
        lists = [[tag.strip() for tag in cell.split(separator) if tag.strip()] for cell in cells]
        known = sorted({tag for tags in lists for tag in tags}) if names is None else [str(name) for name in names]
        if not known:
            raise DataError(f"{self.path}: expected at least one tag in the second column, got none.")
        self.names = {"tags": tuple(known)}
        numbers = {name: number for number, name in enumerate(known)}
        tags = np.zeros((len(rows), len(known)), np.float32)
        for row, found, (line, _) in zip(tags, lists, rows, strict=True):
            unknown = [tag for tag in found if tag not in numbers]
            if unknown:
                raise DataError(
                    f"{self.path}, line {line}: expected tags out of {', '.join(known)}, got {unknown[0]!r}."
                )
            row[[numbers[tag] for tag in found]] = 1
        return tags

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        path, tags = self._items[index]
        image = read_image(path, self.report, self.max_pixels)
        return Sample(image, tags=tags.copy(), id=Path(os.path.relpath(path, self.root)).as_posix(), path=str(path))

    def describe(self, index):
        return str(self._items[index][0])

    @classmethod
    def recognise(cls, root):
        found = part_tables(root)
        plan = {}
        for part, table in found.items():
            folder = _picture_root(table)
            if folder is None:
                return None
            plan[part] = {"path": str(table), "root": str(folder)}
        return plan or None


def _picture_root(table: Path) -> Path | None:
    try:
        _, rows = read_table(table, None)
    except DataError:
        return None
    name, *tags = rows[0][1]
    if len(tags) > 1 and not all(tag.strip() in _FLAGS for tag in tags):
        return None  # a table of something else, such as boxes
    return root_of_pictures(table, name.strip())
