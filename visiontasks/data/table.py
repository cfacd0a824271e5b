"""Reads text tables, and finds their images and the tables of each split."""

import contextlib
import contextvars
import csv
import dataclasses
import functools
import io
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from visiontasks.data.images import is_image_name
from visiontasks.data.text import content_of, decode
from visiontasks.errors import DataError

_DELIMITERS = (",", ";", "\t")
TRIED = 50  # rows, to recognize a table by: the files of some may be missing
# the names of the column of files, in any case and with or without _ between the words; the surest first
_FILES = ("file", "filename", "filepath", "imagepath", "imagefile", "imagefilename", "imgpath", "imgfile", "imgname")
_FILES += ("fname", "path", "imagename", "image", "img", "picture", "photo", "imageid", "imgid", "idcode", "id")
# the same of a column that has one class in each cell
CLASS = ("class", "classname", "label", "labelname", "classlabel", "category", "categoryname", "name", "breed")
CLASS += ("choice", "species", "target", "diagnosis", "dx", "type", "level", "classid", "labelid", "categoryid")
_INDEX = re.compile(r"(unnamed\d*|index|idx|level0|rownames)?")  # pandas writes its row numbers so

Rows = list[tuple[int, list[str]]]  # (line, cells)
_PARSED: contextvars.ContextVar[dict | None] = contextvars.ContextVar("parsed", default=None)


@contextlib.contextmanager
def parsed_once():
    """Within this block, or a function that it decorates, each table is parsed once, and kept until its end."""
    token = _PARSED.set({} if (parsed := _PARSED.get()) is None else parsed)
    try:
        yield
    finally:
        _PARSED.reset(token)


def _once(read: Callable):
    @functools.wraps(read)
    def kept(*arguments):
        parsed = _PARSED.get()
        if parsed is None:
            return read(*arguments)
        key = read, *arguments
        if key not in parsed:
            parsed[key] = read(*arguments)
        return parsed[key]

    return kept


@dataclasses.dataclass(frozen=True)
class Table:
    """Column names and rows of a table file; a table without a row of names has made-up ones, and is `bare`."""

    path: Path
    header: list[str]
    rows: Rows
    bare: bool = False

    def column(self, number: int) -> list[str]:
        """The cells of a column, without white space around them."""
        return self._columns[number]

    @functools.cached_property
    def _columns(self) -> list[list[str]]:
        columns = zip(*(cells for _, cells in self.rows), strict=True)
        return [list(map(str.strip, column)) for column in columns] or [[] for _ in self.header]


def read_table(path: Path, delimiter: str | None) -> tuple[list[str], Rows]:
    """The first row, and (line, cells) of every other row that is not empty.

    Args:
        path: UTF-8, UTF-16 or Windows-1252, with or without a byte order mark.
        delimiter: the character between columns; None: the most frequent of , ; and tab in the first row.

    Raises:
        DataError: not a table, no rows, or a row of another length; the text names the line.
    """
    rows, delimiter = read_rows(path, delimiter)
    bare = bool(rows) and _is_data(rows[0][1])
    if len(rows) < 2 - bare or len(rows[0][1]) < 2:
        first = ",".join(rows[0][1]) if rows else ""
        raise DataError(
            f"{path}: expected a first row that names at least two columns (file, tags) and rows after it; got "
            f"{len(rows)} rows, the first {first[:80]!r}, read with {delimiter!r} between the columns."
        )
    width = len(rows[0][1])
    for line, cells in rows[1:]:
        if width == 2 and len(cells) == 1:  # a file without tags
            cells.append("")
        if len(cells) != width:
            raise DataError(
                f"{path}, line {line}: expected {width} columns as in the first row, got {len(cells)}; "
                "put quotes around cells that contain the delimiter."
            )
    return rows[0][1], rows[1:]


@_once
def load_table(path: Path, delimiter: str | None) -> Table:
    """The table in a file, whose first row may hold an image instead of column names; errors as `read_table`."""
    header, rows = read_table(path, delimiter)
    if _is_data(header):
        return _bare(path, header, rows)
    return Table(path, [name.strip() for name in header], rows)


def _bare(path, first, rows) -> Table:
    return Table(path, [f"column {1 + number}" for number in range(len(first))], [(1, first), *rows], bare=True)


def _is_data(cells) -> bool:
    return any(is_image_name(cell.strip()) for cell in cells)


@_once
def read_rows(path: Path, delimiter: str | None) -> tuple[Rows, str]:
    """(line, cells) of every row that is not empty, and the delimiter; errors as `read_table`."""
    try:
        text = _decode(content_of(path))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"expected a text table, got {path}: {why}.", "path") from error
    if line := re.match(r"sep=(.)\r?\n", text):  # Excel's
        text, delimiter = text[line.end() :], delimiter or line[1]
    if delimiter is None:
        delimiter = max(_DELIMITERS, key=text.strip().split("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)], delimiter
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: expected rows of text, got: {error}.") from error


def names_images(path: Path) -> bool:
    """Whether a file that may be no table has the name of an image in one of its first cells."""
    try:
        rows, _ = read_rows(path, None)
    except DataError:
        return False
    return any(is_image_name(cell.strip()) for _, cells in rows[:TRIED] for cell in cells)


def _decode(data: bytes) -> str:
    try:
        return decode(data)
    except UnicodeDecodeError as error:
        if error.encoding != "utf-8":
            raise
        return data.decode("cp1252", errors="replace")


def plain(name: str) -> str:
    """A column's name without case, and without what is between its words."""
    return re.sub(r"[\W_]+", "", name).lower()


def is_index(name: str) -> bool:
    """Whether a column of this name numbers the rows."""
    return _INDEX.fullmatch(plain(name)) is not None


def is_file_name(name: str) -> bool:
    """Whether a column of this name may hold files."""
    return plain(name) in _FILES


def file_column(table: Table, leads: Callable[[list[str]], int], others: Collection[int] = ()) -> int | None:
    """The number of the column of files: by its name, or, if that leads to no image, by its cells.

    Args:
        table: the table.
        leads: how many of some names lead to an image.
        others: columns that hold something else.
    """
    columns = [number for number in range(len(table.header)) if number not in others]
    named = [number for number in columns if is_file_name(table.header[number])]
    named.sort(key=lambda number: _FILES.index(plain(table.header[number])))
    named = [] if table.bare else named
    tried = {number: first_names(table.column(number)) for number in columns}
    for number in named:
        if leads(tried[number]):
            return number
    rest = [number for number in columns if number not in named and tried[number]]
    # numbers of rows may be the names of images, too
    rest.sort(key=lambda n: (not any(map(is_image_name, tried[n])), is_index(table.header[n]), n))
    by_cells = next((n for n in rest if 2 * leads(tried[n]) >= len(tried[n])), None)
    if by_cells is not None:
        return by_cells
    looks = (number for number in rest if any(map(is_image_name, tried[number])))
    return named[0] if named else next(looks, None)


def with_first_row(table: Table, file: int, leads: Callable[[list[str]], int]) -> Table:
    """The table, whose first row is data if it names an image without a suffix."""
    first = table.header[file]
    if table.bare or is_file_name(first) or not first or not leads([first]):
        return table
    return _bare(table.path, table.header, table.rows)


def first_names(names: Sequence[str]) -> list[str]:
    """The first names that recognition tries, each once."""
    return [name for name in dict.fromkeys(names) if name][:TRIED]
