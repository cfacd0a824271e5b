"""Tables beside masks: which class a pixel value or a color is."""

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from visiontasks.data.layout import is_split
from visiontasks.data.mask_folders import holds_masks
from visiontasks.data.text import read_text
from visiontasks.errors import DataError

IGNORED = "__ignore__"  # labelme's first label, which its masks store as 255
_LISTS = ("classes.txt", "names.txt", "class_names.txt")
_TABLES = (
    *("labelmap.txt", "label_colors.txt", "label_color.txt"),
    *("class_dict.csv", "class_dict_seg.csv", "label_colors.csv", "_classes.csv"),
)
_COLUMNS = {
    "name": ("name", "class", "label", "class_name", "classname", "category"),
    "value": ("pixel value", "pixel_value", "value", "id", "index", "class_id"),
    **{"r": ("r", "red"), "g": ("g", "green"), "b": ("b", "blue")},
}


class Entry(NamedTuple):
    """A class in a table: its name, pixel value (its place, if the table has none), and color 0xRRGGBB or None."""

    name: str
    value: int
    color: int | None = None


class Table(NamedTuple):
    """The classes beside masks, and the file that lists them; `plain`: names alone, the first of value 0."""

    file: Path
    entries: tuple[Entry, ...]
    plain: bool = False


def table_beside(masks: Path) -> Table | None:
    """The table of classes in the folder of masks or in one above it that belongs to the data set; a plain list last.

    Raises:
        DataError: it has no name or one twice, or a line that is none of a table of colors.
    """
    places, folder = [masks], masks
    while len(places) == 1 or is_split(folder.name) or holds_masks(folder.name):
        folder = folder.parent
        if folder == places[-1]:
            break
        places.append(folder)
    for file in (place / name for name in (*_TABLES, *_LISTS) for place in places):
        if file.is_file():
            entries = _read(file, read_text(file, "a table of classes"))
            if entries:
                return Table(file, entries, file.name in _LISTS)
    return None


def _read(file, text) -> tuple[Entry, ...]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and (file.name in _LISTS or not line.startswith(("#", "//")))]
    if file.name in _LISTS:
        lines = lines[1:] if lines[:1] == [IGNORED] else lines
        entries = [Entry(name, number) for number, name in enumerate(lines)]
    elif file.suffix == ".csv":
        entries = _of_columns(file, text)
    else:
        entries = [_of_line(file, number, line) for number, line in enumerate(lines)]
    if not entries and file.suffix == ".csv":
        return ()
    if file.suffix == ".txt" and file.name in _TABLES and all(entry.color is None for entry in entries):
        entries = [entry._replace(color=_voc_color(entry.value)) for entry in entries]
    names = [entry.name for entry in entries]
    if not names or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), None)
        raise DataError(
            f"{file}: expected one unique class name per line, got " + (f"{twice!r} twice." if names else "none.")
        )
    return tuple(entries)


def _of_columns(file, text) -> list[Entry]:
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline="")) if any(row)]
    except csv.Error as error:
        raise DataError(f"{file}: expected rows of text, got: {error}.") from error
    header = [cell.lower() for cell in rows[0]] if rows else []
    column = {key: next((header.index(n) for n in names if n in header), None) for key, names in _COLUMNS.items()}
    if header[:1] == ["filename"]:  # Roboflow's table of tags
        return []
    if column["name"] is None and len(header) == 4:
        return [_of_line(file, number, ",".join(row)) for number, row in enumerate(rows)]
    if column["name"] is None:
        raise DataError(
            f"{file}: expected columns such as name, r, g, b or Pixel Value, Class, got {', '.join(header)}."
        )
    entries = []
    for number, row in enumerate(rows[1:]):
        cells = {key: None if at is None or at >= len(row) else row[at] for key, at in column.items()}
        try:
            value = number if cells["value"] is None else int(cells["value"])
            levels = [cells[key] for key in "rgb" if cells[key] is not None]
            color = packed([*map(int, levels)]) if levels else None
        except ValueError as error:
            shown = ", ".join(row)[:80]
            raise DataError(
                f"{file}: expected whole numbers from 0 to 255 as r, g and b, got the row {shown}."
            ) from error
        entries.append(Entry(cells["name"] or "", value, color))
    return entries


def _of_line(file, number, line) -> Entry:
    """CVAT's name:r,g,b:parts:actions; or r g b name, or name r g b, with spaces, tabs or commas between."""
    color = r"(?P<r>\d{1,3})[\s,]+(?P<g>\d{1,3})[\s,]+(?P<b>\d{1,3})"
    for pattern in (rf"(?P<name>[^:]*):{color}(:.*)?", rf"{color}[\s,:]+(?P<name>.+)", rf"(?P<name>.+?)[\s,:]+{color}"):
        found = re.fullmatch(pattern, line)
        if found and all(int(found[one]) <= 255 for one in "rgb"):
            return Entry(found["name"].strip(), number, packed([int(found[one]) for one in "rgb"]))
    name = re.fullmatch(r"([^:]+):+|[^:,\d]+", line)
    if name:  # a class without a color, as CVAT and datumaro write it
        return Entry((name[1] or line).strip(), number)
    raise DataError(f"{file}: expected in each line a class name and its color as r, g, b from 0 to 255, got {line!r}.")


def _voc_color(number: int) -> int:
    """The color of a class in the palette of PASCAL VOC, whose tools also use it where a table names none."""
    red, green, blue = (sum((number >> 3 * bit + channel & 1) << 7 - bit for bit in range(3)) for channel in range(3))
    return red << 16 | green << 8 | blue


def packed(color) -> int:
    """[r, g, b] as 0xRRGGBB.

    Raises:
        ValueError: they are not three numbers from 0 to 255.
    """
    if len(color) != 3 or not all(0 <= one <= 255 for one in color):
        raise ValueError(f"no color: {color}")
    return color[0] << 16 | color[1] << 8 | color[2]


def unpacked(color: int) -> list[int]:
    """0xRRGGBB as [r, g, b]."""
    return [color >> 16, color >> 8 & 255, color & 255]


# Cityscapes' masks have numbers alone; of labelTrainIds 255 is void
_CITYSCAPES = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
_TRAINED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def cityscapes(mask: Path) -> Table | None:
    """The classes of a mask that is named as Cityscapes names its own."""
    if re.search(r"_gt(Fine|Coarse)_labelTrainIds$", mask.stem):
        return Table(mask, tuple(Entry(_CITYSCAPES[value], number) for number, value in enumerate(_TRAINED)))
    if re.search(r"_gt(Fine|Coarse)_labelIds$", mask.stem):
        return Table(mask, tuple(Entry(name, number) for number, name in enumerate(_CITYSCAPES)))
    return None
