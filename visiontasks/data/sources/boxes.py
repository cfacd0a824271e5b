"""A table of boxes: one row per object."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.arguments import Count
from visiontasks.data.finding import Finder
from visiontasks.data.images import MAX_PIXELS, image_size
from visiontasks.data.objects import Objects, usable_boxes
from visiontasks.data.sources.source import ObjectFiles
from visiontasks.data.table import image_root, read_table, recognize_tables
from visiontasks.errors import DataError

# the column names that tables use, in any case and with or without _ between the words
_COLUMNS = {
    "file": ("file", "filename", "image", "imagename", "imagepath", "filepath", "path", "picture", "imageid"),
    "xmin": ("xmin", "x1", "left"),
    "ymin": ("ymin", "y1", "top"),
    "xmax": ("xmax", "x2", "right"),
    "ymax": ("ymax", "y2", "bottom"),
    "class": ("class", "classname", "label", "labelname", "name", "category"),
}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Boxes(ObjectFiles):
    """A table of boxes, one row per object; gives `boxes`, `classes`, `tags` and `label`.

    Its columns, in any order and among others: file (or filename, image, path, …), xmin, ymin, xmax, ymax (or x1, y1,
    x2, y2) in pixels, and class (or label, name, …). A row with a file and five empty cells is an image without
    objects. `tags` are the classes present, `label` is the class of the largest object.

    Args:
        path: the table: UTF-8, UTF-16 or Windows-1252, with or without a byte order mark.
        root: the folder that the table's file names are relative to; by default the table's folder.
        delimiter: the character between columns; by default the most frequent of , ; and tab in the first row.
        names: the classes in order; by default those in the table, sorted.
        max_pixels: larger images are skipped.

    Raises:
        DataError: no table, a missing column, no image, no object, a row of another length or without numbers, a class
            that `names` lacks, or boxes that seem to be shares of the image; the text names the line.
    """

    LAYOUT = "a table of boxes: DIR/*.csv with the columns file, xmin, ymin, xmax, ymax, class, or DIR/{train,val}.csv"

    def __init__(
        self,
        path: str,
        root: str | None = None,
        delimiter: str | None = None,
        names: Sequence[str] | None = None,
        max_pixels: Count = MAX_PIXELS,
    ):
        super().__init__()
        self.path, self.max_pixels = Path(path), max_pixels
        self.root = self.path.parent if root is None else Path(root)
        header, rows = read_table(self.path, delimiter)
        columns = _columns(header)
        missing = [name for name in _COLUMNS if name not in columns]
        if missing:
            raise DataError(
                f"{self.path}: expected columns {', '.join(_COLUMNS)}, got {', '.join(header)}, without "
                f"{', '.join(missing)}; rename them in the first row."
            )
        images = {}
        for line, cells in rows:
            objects = images.setdefault(cells[columns["file"]].strip(), (line, []))[1]
            row = self._row([cells[columns[name]].strip() for name in (*_CORNERS, "class")], line)
            if row is not None:
                objects.append((line, *row))
        if names is None:
            names = sorted({name for _, objects in images.values() for _, _, name in objects})
        self.name_classes(names)
        self._read(images, header[columns["file"]])

    def _row(self, cells, line) -> tuple[list[float], str] | None:
        if not any(cells):
            return None
        try:
            corners = [float(cell) for cell in cells[:4]]
        except ValueError:
            raise DataError(f"{self.path}, line {line}: expected four numbers, got {', '.join(cells[:4])}.") from None
        if not cells[4]:
            raise DataError(f"{self.path}, line {line}: expected a class beside the box, got none.")
        return corners, cells[4]

    def _read(self, images, column):
        finder = Finder(self.root, self.report)
        paths = [(finder.find(name, f"{self.path}, line {line}"), objects) for name, (line, objects) in images.items()]
        items = [(path, objects) for path, objects in paths if path is not None]
        if not items:
            raise finder.none_found(f"{self.path}, column {column!r}", images)
        numbers = [abs(n) for _, objects in items for _, corners, _ in objects for n in corners]
        if numbers and max(numbers) <= 1:
            raise DataError(
                f"{self.path}: expected boxes in pixels, got no coordinate above 1: they seem to be shares of the "
                "image; multiply them by its width and height."
            )
        self.items = []
        for (path, objects), size in self.readable(lambda item: image_size(item[0], self.max_pixels), items):
            self.items.append((path, self._objects(objects, size)))
        self.check_objects(self.path)

    def _objects(self, rows, size) -> Objects:
        numbers = [self.number_of(name, f"{self.path}, line {line}") for line, _, name in rows]
        lines = [f"{self.path}, line {line}" for line, *_ in rows]
        boxes, kept = usable_boxes(np.array([corners for _, corners, _ in rows]), size, lines, self.report)
        classes = np.array(numbers, np.int32)[kept]
        return Objects(boxes, classes, np.zeros(len(kept), bool))

    @classmethod
    def recognize(cls, root):
        return recognize_tables(root, _image_root)


def _columns(header: list[str]) -> dict[str, int]:
    """{"file": column index, "xmin": …} of the columns that exist."""
    plain = [name.strip().lower().replace("_", "").replace(" ", "") for name in header]
    return {
        name: plain.index(next(other for other in others if other in plain))
        for name, others in _COLUMNS.items()
        if any(other in plain for other in others)
    }


def _image_root(table: Path) -> Path | None:
    try:
        header, rows = read_table(table, None)
    except DataError:
        return None
    columns = _columns(header)
    if len(columns) < len(_COLUMNS):
        return None
    return image_root(table, [cells[columns["file"]].strip() for _, cells in rows])
