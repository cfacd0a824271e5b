"""A table of boxes: one row per object."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.arguments import Pixels
from visiontasks.data.box_columns import BoxColumns, box_columns, is_near
from visiontasks.data.box_formats import check_format, corners_of
from visiontasks.data.class_lists import in_order, listed_classes
from visiontasks.data.finding import Finder
from visiontasks.data.images import MAX_PIXELS, image_size
from visiontasks.data.objects import Objects, usable_boxes
from visiontasks.data.sources.source import ObjectFiles
from visiontasks.data.table import load_table
from visiontasks.data.table_splits import (
    ImageFolders,
    none_below,
    of_split,
    recognize_tables,
    split_column,
    tell_unlabeled,
)
from visiontasks.errors import DataError

_ONLY = "object"  # the class of a table without classes


class Boxes(ObjectFiles):
    """A table of boxes, one row per object; gives `boxes`, `classes`, `tags` and `label`.

    Its columns, in any order and among others: file (or filename, image, path, …), xmin, ymin, xmax, ymax (or x1,
    y1, x2, y2) in pixels, and class (or label, name, …). The box can also be x, y, width and height, or x_center,
    y_center, width and height, or one column bbox of [x, y, width, height]; without a column of classes there is
    one class. A row with a file and else empty cells is an image without objects; one whose boxes are all unusable is
    left out. `tags` are the classes present, `label` is the class of the largest object.

    A table without column names has rows path,x1,y1,x2,y2,class (keras-retinanet) or class,x,y,w,h,path,width,height
    (makesense.ai). A classes.csv (name,id) beside the table gives the order of the classes.

    Args:
        path: the table: UTF-8, UTF-16 or Windows-1252, with or without a byte order mark.
        root: the folder that the table's file names are relative to; by default the table's folder.
        delimiter: the character between columns; by default the most frequent of , ; and tab in the first row.
        names: the classes in order; by default those of classes.csv, or those in the table, sorted.
        scale_boxes: scale the boxes of an image whose size is not the one in the table's columns width and height.
        split: only the rows that have this value, in any spelling, in the column split (or subset, partition, set); by
            default all.
        max_pixels: larger images are skipped.

    Raises:
        DataError: no table, a missing column, no image, no object, a row of another length or without numbers, a class
            that `names` lacks, an image of another size than its row says, or boxes most of which are inverted, exceed
            their image, or seem to be shares of it; the text names the line.
    """

    LAYOUT = "a table of boxes: DIR/*.csv with the columns file, xmin, ymin, xmax, ymax, class, or DIR/{train,val}.csv"

    def __init__(
        self,
        path: str,
        root: str | None = None,
        delimiter: str | None = None,
        names: Sequence[str] | None = None,
        scale_boxes: bool = False,
        split: str | None = None,
        max_pixels: Pixels = MAX_PIXELS,
    ):
        super().__init__()
        self.path, self.scale_boxes, self.max_pixels = Path(path), scale_boxes, max_pixels
        self.root = self.path.parent if root is None else Path(root)
        table = of_split(load_table(self.path, delimiter), split, self.report)
        finder = Finder(self.root, self.report)
        columns = box_columns(table, lambda names: sum(map(finder.has, names)))
        if columns.name is None:
            self.report.noted(f"table without a column of classes, every box is of the class {_ONLY!r}", str(self.path))
        images = {}
        for line, cells in table.rows:
            name = cells[columns.file].strip()
            _, listed, objects = images.setdefault(name, (line, self._listed(cells, columns, line), []))
            row = self._row(cells, columns, line)
            if row is not None:
                objects.append((line, *row))
        used = {name for *_, objects in images.values() for _, _, name in objects}
        listed = listed_classes(self.path, used, names, self.report)
        self._names_of_ids = listed if used <= set(listed) else {}
        self.name_classes(names or listed.values() or in_order(used))
        self._read(images, table, columns, finder)
        labels = [table.header[number] for number in (*columns.box, columns.name) if number is not None]
        tell_unlabeled(table, labels, self.report)

    def _row(self, cells, columns: BoxColumns, line) -> tuple[list[float], str] | None:
        name = _ONLY if columns.name is None else cells[columns.name].strip()
        written = [cells[number].strip() for number in columns.box]
        if not any(written):
            if columns.name is not None and name:  # such as "No finding"
                self.report.noted("row with a class and no box, which adds no object", f"{self.path}, line {line}")
            return None
        try:
            numbers = columns.numbers(written)
        except (ValueError, TypeError):
            raise DataError(f"{self.path}, line {line}: expected four numbers, got {', '.join(written)}.") from None
        if not name:
            raise DataError(f"{self.path}, line {line}: expected a class beside the box, got none.")
        return numbers, name

    def _listed(self, cells, columns: BoxColumns, line) -> tuple[float, ...]:
        """The image's (height, width) in a row; () without columns of it."""
        written = [cells[number].strip() for number in columns.size or ()]
        try:
            numbers = [float(text or 0) for text in written]
        except ValueError:
            raise DataError(f"{self.path}, line {line}: expected a height and a width, got {written}.") from None
        return tuple(number if math.isfinite(number) else 0 for number in numbers)

    def _read(self, images, table, columns, finder):
        found = [
            (finder.find(name, f"{self.path}, line {line}"), listed, objects)
            for name, (line, listed, objects) in images.items()
        ]
        items = [item for item in found if item[0] is not None]
        if not items:
            raise finder.none_found(f"{self.path}, column {table.header[columns.file]!r}", images)
        read, self.items = [], []
        for (path, listed, objects), size in self.readable(lambda item: image_size(item[0], self.max_pixels), items):
            boxes = np.array([numbers for _, numbers, _ in objects], np.float64).reshape(-1, 4)
            read.append((path, boxes * self._scale(path, listed, size, objects), objects, size))
        if read:
            sizes = [np.broadcast_to(size, (len(objects), 2)) for _, _, objects, size in read]
            written = np.concatenate([boxes for _, boxes, _, _ in read])
            check_format(written, np.concatenate(sizes), columns.kind, self.path)
        for path, boxes, objects, size in read:
            made = self._objects(corners_of(boxes, columns.kind), objects, size)
            if self.usable(len(objects), made, path):
                self.items.append((path, made))
        self.check_objects(self.path)

    def _scale(self, path, listed, size, objects) -> np.ndarray | float:
        """What the boxes of an image of (height, width) are multiplied by, because of the size that is `listed`."""
        if not listed or listed == size or not objects:
            return 1.0
        where = f"{self.path}, line {objects[0][0]}"
        if not self.scale_boxes or listed == size[::-1] or not all(listed):
            try:
                self.check_size(where, path, tuple(map(int, listed)), size)
            except DataError as error:
                if listed == size[::-1]:
                    raise
                raise DataError(
                    f"{error} If only its size was changed, scale its boxes.", "scale_boxes", "true"
                ) from None
            return 1.0
        self.report.noted("image of another size than in the table, its boxes scaled", str(path))
        return np.array([size[1] / listed[1], size[0] / listed[0]] * 2)

    def _objects(self, boxes, rows, size) -> Objects:
        lines = [f"{self.path}, line {line}" for line, *_ in rows]
        names = [self._names_of_ids.get(name, name) for *_, name in rows]
        numbers = [self.number_of(name, line) for name, line in zip(names, lines, strict=True)]
        boxes, kept = usable_boxes(boxes, size, lines, self.report)
        return Objects(boxes, np.array(numbers, np.int32)[kept], np.zeros(len(kept), bool))

    @classmethod
    def recognize(cls, root):
        return cls.recognize_for(root, ())

    @classmethod
    def recognize_for(cls, root, wanted):
        named = bool(wanted) and set(wanted) <= {"tags", "label"}
        return recognize_tables(root, lambda path: _look(path, root, named))


def _look(path: Path, root: Path, named: bool) -> tuple[dict, list[str], dict] | str | None:
    """(arguments, columns of boxes, values of splits) of a table, why it is not one of boxes, or None."""
    try:
        table, folders = load_table(path, None), ImageFolders(path, root)
    except DataError:
        return None
    if not is_near(table):
        return None
    try:
        columns = box_columns(table, lambda names: folders.best(names)[1])
    except DataError as error:
        return error.args[0].rstrip(".")
    if named and columns.name is None:
        return f"{path.name} has boxes without a column of classes"
    folder, _ = folders.best(table.column(columns.file))
    if folder is None:
        return none_below(table, columns.file, root)
    _, splits = split_column(table) or (None, {})
    return {"path": str(path), "root": str(folder)}, [table.header[number] for number in columns.box], splits
