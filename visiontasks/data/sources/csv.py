"""A table of images and their tags, or their class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.arguments import Pixels
from visiontasks.data.box_columns import is_near
from visiontasks.data.finding import Finder
from visiontasks.data.foreign import foreign_format
from visiontasks.data.images import MAX_PIXELS
from visiontasks.data.report import Report
from visiontasks.data.sources.source import Files
from visiontasks.data.table import file_column, load_table, names_images, with_first_row
from visiontasks.data.table_splits import (
    ImageFolders,
    none_below,
    of_split,
    recognize_tables,
    split_column,
    tell_unlabeled,
)
from visiontasks.data.tag_cells import TagCells, why_no_label
from visiontasks.errors import DataError
from visiontasks.sample import UNLABELED


class Csv(Files):
    """A table of images and tags; gives `tags`, and `label` if each image has exactly one of them.

    The column of files is found by its name (file, filename, image, path, image_id, id, …) or by its cells, which may
    lack the suffix. Then there is one column of labels, whose cells have a name, or several with a separator between
    them, or a list (["a", "b"]); or one column per tag with 0 or 1, True or False (-1 or empty: not labeled). Other
    columns are not read, which is reported. The rows of one image are joined. An image without tags is a valid image.
    Without a row of column names the table has two columns, files and labels. A classes.csv (name,id) beside the table
    gives the order of the labels, and the names of those that are ids; so does another CSV, JSON or text file that
    gives each id a name of its own (labels.csv of attribute_id,attribute_name, or {"0": "cat"}), which is reported.

    Args:
        path: the table: UTF-8, UTF-16 or Windows-1252, with or without a byte order mark.
        root: the folder that the table's file names are relative to; by default the table's folder.
        delimiter: the character between columns; by default the most frequent of , ; and tab in the first row.
        separator: the character between tags, or "space"; by default ; or | if any row has one, else a comma. White
            space separates if a word occurs in different combinations, so that hot dog is one name; what was decided is
            reported.
        names: the tags in order; by default those in the table, sorted (or in the order of their columns). A tag
            without a column is not labeled.
        columns: the names of the columns with the tags; by default those named label, class, tags, …, or those of 0 and
            1, or the only one.
        flags: whether each column is a tag, and not a list of them; by default if its cells are 0 and 1 and it is not
            named label, class, tags, …
        split: only the rows that have this value, in any spelling, in the column split (or subset, partition, set); by
            default all.
        max_pixels: larger images are skipped.

    Raises:
        DataError: no table, no image, no tag, a row of another length, rows of an image whose 0 and 1 differ, or a tag
            that `names` lacks; the text names the line.
    """

    LAYOUT = (
        "a table of tags or classes: DIR/*.csv with a column of images in DIR, and one of labels or one of 0 and 1 for "
        "each, or DIR/{train,val}.csv"
    )
    fields = frozenset({"tags", "label"})

    def __init__(
        self,
        path: str,
        root: str | None = None,
        delimiter: str | None = None,
        separator: str | None = None,
        names: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        flags: bool | None = None,
        split: str | None = None,
        max_pixels: Pixels = MAX_PIXELS,
    ):
        super().__init__()
        self.path, self.max_pixels = Path(path), max_pixels
        self.root = self.path.parent if root is None else Path(root)
        table = of_split(load_table(self.path, delimiter), split, self.report)
        finder = Finder(self.root, self.report)

        def leads(names):
            return sum(map(finder.has, names))

        file = file_column(table, leads)
        if file is None:
            raise finder.none_found(f"{self.path}, column {table.header[0]!r}", table.column(0))
        table = with_first_row(table, file, leads)
        cells = TagCells(table, file, columns, flags, names, separator, self.report)
        self.columns, self.items = cells.columns, self._join(table, file, cells, finder)
        if not self.items:
            raise finder.none_found(f"{self.path}, column {table.header[file]!r}", table.column(file))
        rows = np.array([row for _, row in self.items])
        one = ((rows == 1).sum(axis=1) == 1).all()
        self.fields = frozenset({"tags", "label"} if one else {"tags"})
        self.names = dict.fromkeys(sorted(self.fields), cells.names)
        tell_unlabeled(table, cells.columns, self.report)

    def _join(self, table, file, cells, finder) -> list[tuple[Path, np.ndarray]]:
        """(image, tags) of each image that is there."""
        found, images = {}, {}
        for (line, row), tags in zip(table.rows, cells.rows, strict=True):
            name = row[file].strip()
            if name not in found:
                found[name] = finder.find(name, f"{self.path}, line {line}")
            path = found[name]
            if path is None:
                continue
            before, first = images.setdefault(path, (tags, line))
            if first == line:
                continue
            if not cells.flags:
                self.report.noted("image of several rows, whose labels are joined", name)
                images[path] = np.maximum(before, tags), first
            elif not np.array_equal(before, tags):
                raise DataError(
                    f"{self.path}, line {line}: expected each image once, got {name} in line {first} with other tags "
                    f"({cells.names[np.flatnonzero(before != tags)[0]]}); remove one of the rows."
                )
            else:
                self.report.noted("image of several equal rows, read once", name)
        return [(path, tags) for path, (tags, _) in images.items()]

    def labels(self, tags, size, fields):
        known = tags.copy() if self.known is None else np.where(self.known, tags, UNLABELED)
        return {"tags": known, **({"label": int(np.argmax(tags))} if "label" in self.fields else {})}

    @classmethod
    def recognize(cls, root):
        return cls.recognize_for(root, ())

    @classmethod
    def recognize_for(cls, root, wanted):
        return recognize_tables(root, lambda path: _look(path, root, {"label", "tags"} & set(wanted) == {"label"}))


def _look(path: Path, root: Path, classify: bool) -> tuple[dict, list[str], dict] | str | None:
    """(arguments, columns of labels, values of splits) of a table; why it is not one of tags or classes; or None."""
    try:
        table, folders = load_table(path, None), ImageFolders(path, root)
    except DataError as error:
        return error.args[0].rstrip(".") if names_images(path) else None
    if is_near(table) or foreign_format(path):
        return None  # a table of boxes

    def leads(names):
        return folders.best(names)[1]

    file = file_column(table, leads)
    folder, _ = (None, 0) if file is None else folders.best(table.column(file))
    if folder is None:
        return None if file is None else none_below(table, file, root)
    table = with_first_row(table, file, leads)
    arguments = {"path": str(path), "root": str(folder)}
    try:
        cells = TagCells(table, file, None, None, None, None, Report())
        if classify and cells.flags and len(cells.columns) == 1:  # 0 and 1 are the classes
            arguments["flags"] = False
            cells = TagCells(table, file, cells.columns, False, None, None, Report())
    except DataError as error:
        return error.args[0].rstrip(".")
    reason = why_no_label(cells, table, file) if classify else None
    _, splits = split_column(table) or (None, {})
    return reason or (arguments, cells.columns, splits)
