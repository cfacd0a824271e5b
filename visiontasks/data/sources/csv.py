"""A table of images and their tags."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.arguments import Count
from visiontasks.data.finding import Finder
from visiontasks.data.images import MAX_PIXELS
from visiontasks.data.sources.source import Files
from visiontasks.data.table import TRIED, image_root, read_table, recognize_tables
from visiontasks.errors import DataError
from visiontasks.sample import UNLABELED

_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "-1": UNLABELED, "-1.0": UNLABELED, "": UNLABELED}


class Csv(Files):
    """A table of images and tags whose first row names the columns; gives `tags`.

    The first column holds the file. Then follows either one column of tags with a separator between them, or one
    column per tag with 0 or 1 (-1 or empty: not labeled). An image without tags is a valid image.

    Args:
        path: the table: UTF-8, UTF-16 or Windows-1252, with or without a byte order mark.
        root: the folder that the table's file names are relative to; by default the table's folder.
        delimiter: the character between columns; by default the most frequent of , ; and tab in the first row.
        separator: the character between tags; by default ; or | if any row has one, else a comma, else white space.
        names: the tags in order; by default those in the table, sorted (or in the order of their columns). A tag
            without a column is not labeled.
        max_pixels: larger images are skipped.

    Raises:
        DataError: no table, no image, no tag, a row of another length, or a tag that `names` lacks; the text names
            the line.
    """

    LAYOUT = "a table of tags: DIR/*.csv whose first column names images in DIR, or DIR/{train,val}.csv"
    fields = frozenset({"tags"})

    def __init__(
        self,
        path: str,
        root: str | None = None,
        delimiter: str | None = None,
        separator: str | None = None,
        names: Sequence[str] | None = None,
        max_pixels: Count = MAX_PIXELS,
    ):
        super().__init__()
        self.path, self.max_pixels = Path(path), max_pixels
        self.root = self.path.parent if root is None else Path(root)
        header, rows = read_table(self.path, delimiter)
        finder = Finder(self.root, self.report)
        second = {cells[1].strip() for _, cells in rows}
        flags = len(header) > 2 or (second != {""} and second <= set(_FLAGS))
        tags = self._read_flags(header, rows, names) if flags else self._read_lists(rows, names, separator)
        self.items = [
            (path, row)
            for (line, cells), row in zip(rows, tags, strict=True)
            if (path := finder.find(cells[0].strip(), f"{self.path}, line {line}")) is not None
        ]
        if not self.items:
            raise finder.none_found(f"{self.path}, column {header[0]!r}", [cells[0] for _, cells in rows])

    def _read_flags(self, header, rows, names):
        columns = [name.strip() for name in header[1:]]
        names = columns if names is None else [str(name) for name in names]
        indices = {number: 1 + columns.index(name) for number, name in enumerate(names) if name in columns}
        missing = sorted(set(names) - set(columns))
        if not indices or missing and set(columns) - set(names):  # names of more data sets have all columns
            raise DataError(f"{self.path}: expected columns of names, {', '.join(names)}, got {', '.join(columns)}.")
        self.names = {"tags": tuple(names)}
        for name in missing:
            self.report.add("tag without a column, not labeled", name)
        tags = np.full((len(rows), len(names)), UNLABELED, np.float32)
        for row, (line, cells) in zip(tags, rows, strict=True):
            for number, column in indices.items():
                try:
                    row[number] = _FLAGS[cells[column].strip()]
                except KeyError:
                    raise DataError(
                        f"{self.path}, line {line}, column {header[column]!r}: expected 0 or 1 (-1 or empty: not "
                        f"labeled), got {cells[column]!r}. A table of tag names has two columns: file and tags."
                    ) from None
        return tags

    def _read_lists(self, rows, names, separator):
        cells = [cells[1] for _, cells in rows]
        if separator is None:  # str.split(None) splits at white space
            separator = next((s for s in ";|," if any(s in cell for cell in cells)), None)
            if separator is None and any(len(cell.split()) > 1 for cell in cells):
                self.report.add("table whose tags are split at white space (change it with separator=)", str(self.path))
        lists = [[tag.strip() for tag in cell.split(separator) if tag.strip()] for cell in cells]
        known = sorted({tag for tags in lists for tag in tags}) if names is None else [str(name) for name in names]
        if not known:
            raise DataError(f"{self.path}: expected at least one tag in the second column, got none.")
        self.names = {"tags": tuple(known)}
        numbers = {name: number for number, name in enumerate(known)}
        tags = np.zeros((len(rows), len(known)), np.float32)
        for row, present, (line, _) in zip(tags, lists, rows, strict=True):
            unknown = [tag for tag in present if tag not in numbers]
            if unknown:
                raise DataError(
                    f"{self.path}, line {line}: expected tags among {', '.join(known)}, got {unknown[0]!r}."
                )
            row[[numbers[tag] for tag in present]] = 1
        return tags

    def labels(self, tags, size, fields):
        return {"tags": tags.copy() if self.known is None else np.where(self.known, tags, UNLABELED)}

    @classmethod
    def recognize(cls, root):
        return recognize_tables(root, _image_root)


def _image_root(table: Path) -> Path | None:
    try:
        _, rows = read_table(table, None)
    except DataError:
        return None
    rows = [[cell.strip() for cell in cells] for _, cells in rows[:TRIED]]
    if len(rows[0]) > 2 and not all(tag in _FLAGS for _, *tags in rows for tag in tags):
        return None  # a table of something else, such as boxes
    return image_root(table, [name for name, *_ in rows])
