"""Draws legends below images, and rows of images.

Drawings are meant for viewing: a tiny image is enlarged by an integer factor and a huge one is reduced, so that text is
legible at any size. Text never covers the image; it is in a strip below. Only boxes have text beside them (`boxes.py`).
Exact values are in `predictions.json`.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visiontasks.drawing.colors import GRAY
from visiontasks.drawing.fonts import font_file

SMALLEST, LARGEST = 256, 4096  # of the longer of a drawing's width and height
MOST_ENTRIES = 24  # in a legend
PAPER, INK = (255, 255, 255), (20, 20, 20)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of a legend: a name, its color (None: no swatch), and a share in 0..1, drawn as percent and as a bar."""

    name: str
    color: tuple[int, int, int] | None = None
    share: float | None = None
    filled: bool = True  # False: a hollow swatch, for a class that is not tinted in the image


def fitted(image: np.ndarray, nearest: bool = False) -> np.ndarray:
    """Scale uint8 (H, W, 3) or a map (H, W) so that the longer dimension is in 256..4096; enlarge by an integer factor.

    Args:
        nearest: reduce by nearest pixel, for class indices; otherwise by averaging.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer < SMALLEST:
        factor = -(-SMALLEST // longer)
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    if longer > LARGEST:
        size = tuple(max(1, round(length * LARGEST / longer)) for length in (width, height))
        return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_AREA)
    return image


def unit(image: np.ndarray) -> int:
    """The text height in pixels for an image of this size; lines are an eighth of it."""
    height, width = image.shape[:2]
    return max(14, round(0.026 * min(max(height, width), 3 * min(height, width))))


def captioned(image: np.ndarray, entries: Sequence[Entry] = ()) -> np.ndarray:
    """The fitted `image`, padded to be wide enough for text, with a legend of the `entries` below it."""
    image = fitted(image)
    size = unit(image)
    image = _widened(image, 16 * size)
    if not entries:
        return image
    if len(entries) > MOST_ENTRIES:
        entries = [*entries[:MOST_ENTRIES], Entry(f"+ {len(entries) - MOST_ENTRIES} more")]
    return np.concatenate([image, _legend(entries, image.shape[1], size)])


def _legend(entries, width, size):
    pad, line = size // 2, round(1.7 * size)
    # a cell: swatch, name, share; the share has a fixed width so that percentages are aligned
    share_room = round(4.3 * size) if any(e.share is not None for e in entries) else 0
    swatch_room = round(1.4 * size) if any(e.color for e in entries) else 0
    widest = max(font(e.name, size).getlength(_tidy(e.name)) for e in entries)
    cell = min(round(widest) + share_room + swatch_room + 1, width - 2 * pad)
    columns = min(len(entries), max(1, (width - pad) // (cell + 2 * pad)))
    strip = Image.new("RGB", (width, -(-len(entries) // columns) * line + 2 * pad), PAPER)
    draw = ImageDraw.Draw(strip)
    for i, entry in enumerate(entries):
        x, y = pad + i % columns * (cell + 2 * pad), pad + i // columns * line
        middle, edge = y + line // 2, size // 3
        if entry.color:
            square = (x, middle - edge, x + 2 * edge, middle + edge)
            draw.rectangle(square, entry.color if entry.filled else PAPER, entry.color, max(1, size // 10))
        letters = font(entry.name, size)
        text = elided(entry.name, letters, cell - share_room - swatch_room)
        draw.text((x + swatch_room, middle), text, INK, letters, anchor="lm")
        if entry.share is not None:
            tiny = 0 < entry.share < 5e-4
            percents = "<0.1%" if tiny else f"{entry.share:.1%}"
            draw.text((x + cell, middle), percents, INK, font(percents, size), anchor="rm")
            bar = round((cell - swatch_room) * min(1, max(0, float(np.nan_to_num(entry.share)))))
            left, top = x + swatch_room, y + line - max(2, size // 8)
            if bar:
                draw.rectangle((left, top, left + bar - 1, y + line - 1), entry.color or GRAY)
    return np.asarray(strip)


def _tidy(text: str) -> str:
    return " ".join(text.split())


def elided(text: str, letters: ImageFont.FreeTypeFont, room: int) -> str:
    """As much of a text as fits into `room` pixels on one line."""
    text = _tidy(text)
    if letters.getlength(text) <= room:
        return text
    while text and letters.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"


def font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """A font of `size` pixels that has all letters of the text."""
    return _load_font(font_file(_tidy(text)), size)


@functools.lru_cache(maxsize=16)
def _load_font(path, size):
    return ImageFont.truetype(path, size)


def _widened(image, width, height=0):
    right, bottom = max(0, width - image.shape[1]), max(0, height - image.shape[0])
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=PAPER)


def side_by_side(panels: Sequence[np.ndarray], titles: Sequence[str] = ()) -> np.ndarray:
    """Panels in a row, aligned at the top, each with a title ("" for none); uint8 (H, W, 3), at most 8192 pixels wide.

    Panels of one image should all come from `captioned` or from a Task's drawings, so that their scales are equal.
    """
    titles = list(titles) or [""] * len(panels)
    panels = [fitted(panel) if max(panel.shape[:2]) < SMALLEST else panel for panel in panels]
    size = max(8, min(max(unit(panel) for panel in panels), min(panel.shape[1] for panel in panels) // 8))
    strips = [
        _titled(panel, title, size) if any(titles) else panel for panel, title in zip(panels, titles, strict=True)
    ]
    tallest = max(strip.shape[0] for strip in strips)
    gap = np.full((tallest, size, 3), PAPER, np.uint8)
    row = [piece for strip in strips for piece in (gap, _widened(strip, strip.shape[1], tallest))]
    return contact_sheet([np.concatenate([*row, gap], axis=1)])


def _titled(panel, title, size):
    head, letters = Image.new("RGB", (panel.shape[1], 2 * size), PAPER), font(title, size)
    ImageDraw.Draw(head).text((0, size), elided(title, letters, panel.shape[1]), INK, letters, anchor="lm")
    return np.concatenate([np.asarray(head), panel])


def contact_sheet(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Stack rows from `side_by_side`; the sheet is reduced to at most 8192 by 16384 pixels."""
    width, height = max(row.shape[1] for row in rows), sum(row.shape[0] for row in rows)
    factor = min(1, 2 * LARGEST / width, 4 * LARGEST / height)
    if factor < 1:  # reduce each row before stacking, so that the sheet never exists in full size
        sizes = [tuple(max(1, int(length * factor)) for length in row.shape[1::-1]) for row in rows]
        rows = [cv2.resize(row, size, interpolation=cv2.INTER_AREA) for row, size in zip(rows, sizes, strict=True)]
        width = max(row.shape[1] for row in rows)
    return np.concatenate([_widened(row, width) for row in rows])


def grid(cells: Sequence[np.ndarray]) -> np.ndarray:
    """Images in rows and columns, in order, on a sheet about as wide as tall; at most 8192 by 16384 pixels."""
    height, width = (max(cell.shape[axis] for cell in cells) for axis in (0, 1))
    columns = min(len(cells), max(1, round(math.sqrt(len(cells) * height / width))))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    return contact_sheet(
        [
            np.concatenate([_widened(cell, width, max(one.shape[0] for one in row)) for cell in row], axis=1)
            for row in rows
        ]
    )
