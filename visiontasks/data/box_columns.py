"""Finds the columns of a table of boxes, and reads their numbers."""

import dataclasses
import json
import re
from collections.abc import Callable

from visiontasks.data.box_formats import CENTERS, CORNERS, SIDES
from visiontasks.data.images import is_image_name
from visiontasks.data.table import CLASS, Table, file_column, plain
from visiontasks.errors import DataError

# the names of columns, in any case and with or without _ between the words
_X1 = ("xmin", "x1", "x0", "left", "bboxxmin", "bboxx1", "boxxmin", "minx", "xtl", "roix1")
_Y1 = ("ymin", "y1", "y0", "top", "bboxymin", "bboxy1", "boxymin", "miny", "ytl", "roiy1")
_X2 = ("xmax", "x2", "right", "bboxxmax", "bboxx2", "boxxmax", "maxx", "xbr", "roix2")
_Y2 = ("ymax", "y2", "bottom", "bboxymax", "bboxy2", "boxymax", "maxy", "ybr", "roiy2")
_X, _Y = ("x", "bboxx", "boxx", "topleftx"), ("y", "bboxy", "boxy", "toplefty")
_W = ("w", "bboxw", "bboxwidth", "boxw", "boxwidth", "width")
_H = ("h", "bboxh", "bboxheight", "boxh", "boxheight", "height")
_CX = ("cx", "xcenter", "centerx", "xc", "bboxcx", "bboxxcenter")
_CY = ("cy", "ycenter", "centery", "yc", "bboxcy", "bboxycenter")
_BOX = ("bbox", "box", "boundingbox", "bndbox")
_WIDTH, _HEIGHT = (tuple(form + side for form in ("image", "img", "")) for side in ("width", "height"))
_COMMA = re.compile(r"(?<=\d),(?=\d+$)")  # of decimals, as Excel writes them in many countries
_CORNERS = (_X1, _Y1, _X2, _Y2)
# of tables without column names, by (the column of the image, how many columns): keras-retinanet's and makesense.ai's
_BARE = {
    (0, 6): ("file", "x1", "y1", "x2", "y2", "class"),
    (5, 8): ("class", "x", "y", "w", "h", "file", "imagewidth", "imageheight"),
}


@dataclasses.dataclass(frozen=True)
class BoxColumns:
    """The numbers of a table's columns.

    Args:
        file: of the image.
        box: of the four numbers, or of one list of them.
        kind: the format of the box: CORNERS, SIDES or CENTERS.
        name: of the class, or None.
        size: of the image's height and width, or None.
    """

    file: int
    box: tuple[int, ...]
    kind: str
    name: int | None
    size: tuple[int, int] | None

    def numbers(self, texts: list[str]) -> list[float]:
        """The four numbers in the cells of a box.

        Raises:
            ValueError or TypeError: they are not four numbers.
        """
        parts = json.loads(texts[0]) if len(texts) == 1 else [_COMMA.sub(".", text) for text in texts]
        numbers = list(map(float, parts))
        if len(numbers) != 4:
            raise ValueError(f"{len(numbers)} numbers")
        return numbers


def is_near(table: Table) -> bool:
    """Whether a table has a box, or more than one part of one."""
    box, _ = _find_box(table, _names(table))
    return len(box) - box.count(None) > 1 or None not in box


def box_columns(table: Table, leads: Callable[[list[str]], int]) -> BoxColumns:
    """The columns of a table; `leads` says how many of some names lead to an image.

    Raises:
        DataError: some are missing.
    """
    names = _names(table)
    box, kind = _find_box(table, names)
    if table.bare:
        file = names.index("file") if "file" in names else None
    else:
        taken = {number for number in (*box, _number(names, CLASS)) if number is not None}
        file = file_column(table, leads, taken)
    missing = [name for name, number in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=False) if number is None]
    missing = ["file"] * (file is None) + missing
    if missing:
        expected = "path,x1,y1,x2,y2,class in each row" if table.bare else "columns file, xmin, ymin, xmax, ymax, class"
        raise DataError(
            f"{table.path}: expected {expected}, got {', '.join(table.header)}, without {', '.join(missing)}; "
            + ("add a first row of names." if table.bare else "rename them in the first row.")
        )
    size = _number(names, _HEIGHT, box), _number(names, _WIDTH, box)
    return BoxColumns(file, tuple(box), kind, _number(names, CLASS, (*box, file)), None if None in size else size)


def _names(table: Table) -> list[str]:
    if not table.bare:
        return list(map(plain, table.header))
    images = (n for n in range(len(table.header)) if any(map(is_image_name, table.column(n)[:1])))
    return list(_BARE.get((next(images), len(table.header)), ()))


def _find_box(table: Table, names: list[str]) -> tuple[list[int | None], str]:
    """The columns of a box, None for those that are missing; and its format."""
    corners = [_number(names, given) for given in _CORNERS]
    if {"x0", "x1"} <= set(names) and corners[2] is None:
        corners = [names.index(name) if name in names else None for name in ("x0", "y0", "x1", "y1")]
    if None not in corners:
        return corners, CORNERS
    sides = [_number(names, (*_X, *_X1)), _number(names, (*_Y, *_Y1)), _number(names, _W), _number(names, _H)]
    if None not in sides and corners[2:] == [None, None]:
        return sides, SIDES
    centers = [_number(names, some) for some in (_CX, _CY, _W, _H)]
    if None not in centers:
        return centers, CENTERS
    whole = _number(names, _BOX)
    if whole is not None and any(cell.startswith("[") for cell in table.column(whole)):
        return [whole], SIDES
    return corners, CORNERS


def _number(names: list[str], given, taken=()) -> int | None:
    """The number of the first of the given names that is not taken; or None."""
    return next((names.index(name) for name in given if name in names and names.index(name) not in taken), None)
