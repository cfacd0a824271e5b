"""Reads text tables whose first row has the column names, and finds the images that they name."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from visiontasks.data.finding import Finder
from visiontasks.data.images import is_image_name
from visiontasks.data.layout import TRAINING, VALIDATION, split_folders
from visiontasks.errors import DataError

_DELIMITERS = (",", ";", "\t")
TRIED = 50  # rows, to recognize a table by: the files of some may be missing

Rows = list[tuple[int, list[str]]]  # (line, cells)


def read_table(path: Path, delimiter: str | None) -> tuple[list[str], Rows]:
    """The column names, and (line, cells) of every row that is not empty.

    Args:
        path: UTF-8, UTF-16 or Windows-1252, with or without a byte order mark.
        delimiter: the character between columns; None: the most frequent of , ; and tab in the first row.

    Raises:
        DataError: not a table, no rows, or a row of another length; the text names the line.
    """
    try:
        text = _decode(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a text table, got {path}: {error}.", "path") from error
    first = text.strip().split("\n")[0].strip()
    if delimiter is None:
        delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: expected rows of text, got: {error}.") from error
    if len(rows) < 2 or len(rows[0][1]) < 2:
        raise DataError(
            f"{path}: expected a first row that names at least two columns (file, tags) and rows after it; got "
            f"{len(rows)} rows, the first {first[:80]!r}, read with {delimiter!r} between the columns."
        )
    header, width = rows[0][1], len(rows[0][1])
    if is_image_name(header[0].strip()):
        raise DataError(f"{path}: expected column names in the first row, got the image {header[0]!r}; add file,tags.")
    for line, cells in rows[1:]:
        if width == 2 and len(cells) == 1:  # a file without tags
            cells.append("")
        if len(cells) != width:
            raise DataError(
                f"{path}, line {line}: expected {width} columns as in the first row, got {len(cells)}; "
                "put quotes around cells that contain the delimiter."
            )
    return header, rows[1:]


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def recognize_tables(root: Path, image_root_of: Callable[[Path], Path | None]) -> dict[str, dict] | None:
    """{split: {"path", "root"}} of the tables in a folder; None without a table, or if a table has no image root."""
    roots = [(split, table, image_root_of(table)) for split, table in split_tables(root).items()]
    if not roots or any(folder is None for *_, folder in roots):
        return None
    return {split: {"path": str(table), "root": str(folder)} for split, table, folder in roots}


def split_tables(root: Path) -> dict[str, Path]:
    """{"train": …, "val": …} of the tables in a folder ("val" only if it exists); {} without a training table.

    The tables can also lie in the folders of the splits: train/_annotations.csv, valid/_annotations.csv.
    """
    tables = {p.stem.lower(): p for p in _tables_in(root)}
    if not tables:
        inside = {split: _tables_in(folder) for split, folder in split_folders(root).items() if folder != root}
        single = {split: tables[0] for split, tables in inside.items() if len(tables) == 1}
        return single if "train" in single else {}
    train = next((tables[n] for n in TRAINING if n in tables), None)
    if train is None and len(tables) == 1:
        train = next(iter(tables.values()))
    val = next((tables[n] for n in VALIDATION if n in tables), None)
    return {name: table for name, table in (("train", train), ("val", val)) if table is not None and train is not None}


def _tables_in(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".csv", ".tsv")]


def image_root(table: Path, names: list[str]) -> Path | None:
    """The folder in which most of the first names of a table are images: its own, one in it, or any depth; or None."""
    names = [name for name in dict.fromkeys(names) if name][:TRIED]
    folders = [table.parent, *(p for p in sorted(table.parent.iterdir()) if p.is_dir() and not p.name.startswith("."))]
    best, count = None, 0
    for folder in folders:
        found = sum(map(Finder(folder).at_once, names))
        if found > count:
            best, count = folder, found
    if best is None and any(map(Finder(table.parent).has, names)):
        best = table.parent
    return best
