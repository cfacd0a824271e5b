"""Draws boxes with text on images.

A line has a dark halo outside and inside, so that it is seen on bright and on busy images.

The text of a box is in the image, beside the box: with a dozen close objects a legend could not tell them apart. It is
placed where it hides no object and covers the least of other texts. Of many objects, those smaller than their text and
those without room for it have none.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from visiontasks.drawing.panels import INK, PAPER, elided, fitted, font, unit

STROKES = {"solid": None, "dashed": (4, 4), "dotted": (1, 3)}  # what is drawn and left out, in widths of the line
FEW = 8  # objects that all have a text


@dataclasses.dataclass(frozen=True)
class Mark:
    """A box to draw: x1, y1, x2, y2 in pixels of the image, its text and its color; not `outlined`: only the text."""

    box: tuple[float, float, float, float]
    text: str
    color: tuple[int, int, int]
    style: Literal["solid", "dashed", "dotted"] = "solid"
    outlined: bool = True


def boxed(image: np.ndarray, marks: Sequence[Mark], drawn: np.ndarray | None = None) -> np.ndarray:
    """The fitted `image` with the outline and text of every mark; the first marks are on top.

    Args:
        image: uint8 (H, W, 3).
        marks: the most important first.
        drawn: the fitted image with what is drawn already.
    """
    drawn = fitted(image) if drawn is None else drawn
    if not marks:
        return drawn
    factor = np.divide(drawn.shape[1::-1], image.shape[1::-1])
    canvas = Image.fromarray(drawn)
    draw = ImageDraw.Draw(canvas)
    corners = [np.reshape(mark.box, (2, 2)) * factor for mark in marks]
    outlined = [(box, mark) for box, mark in zip(corners, marks, strict=True) if mark.outlined]
    strokes = [(mark.color, _strokes(*box, mark.style, max(2, unit(drawn) // 8))) for box, mark in reversed(outlined)]
    for _, (pieces, halo) in strokes:  # all halos below all lines, so that no halo hides a neighbor's line
        for x1, y1, x2, y2 in pieces:
            draw.rectangle((x1 - halo, y1 - halo, x2 + halo, y2 + halo), fill=INK)
    for color, (pieces, _) in strokes:
        for piece in pieces:
            draw.rectangle(piece, fill=color)
    boxes, tags, many = np.reshape(corners, (-1, 4)), [], len(marks) > FEW
    for box, mark in zip(boxes, marks, strict=True):
        tag = _tag(box, mark.text, canvas.size, unit(drawn), boxes, [tag[0] for tag in tags], many)
        if tag is not None:
            tags.append((*tag, mark.color))
    for (x1, y1, x2, y2), text, letters, color in reversed(tags):
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=color)
        draw.text(((x1 + x2) / 2, (y1 + y2) / 2), text, _ink(color), letters, anchor="mm")
    return np.asarray(canvas)


def _tag(box, text, size, height, boxes, taken, many):
    """The position of a text, the text that fits, and its font: (x1, y1, x2, y2), text, font; None if there is no room.

    A text covers at most half of any box: a small object would be gone. Of many objects it is not larger than its own,
    and covers no other text.
    """
    (x1, y1, x2, y2), (columns, rows) = box, size
    letters = font(text, height)
    text = elided(text, letters, columns - height // 2)
    width, tall = round(letters.getlength(text)) + height // 2, round(1.25 * height)
    if not text or many and width * tall > (x2 - x1) * (y2 - y1):
        return None
    # candidates: above, inside at the top, below, inside at the bottom; aligned left, then right
    corners = [(x, y) for x in (x1, x2 - width) for y in (y1 - tall, y1, y2, y2 - tall)]
    fits = [c for c in corners if 0 <= c[1] <= rows - tall and 0 <= c[0] <= columns - width]
    # if no candidate fits, move it into the image
    tries = [(int(x), int(y)) for x, y in fits] or [
        (int(np.clip(x, 0, max(0, columns - width))), int(np.clip(y, 0, max(0, rows - tall)))) for x, y in corners
    ]
    areas = [(x, y, x + width, y + tall) for x, y in tries]
    sizes, others = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), np.reshape(taken, (-1, 4))
    areas = [area for area in areas if (_covered(area, boxes) <= sizes / 2).all()]
    covered = [_covered(area, others).sum() for area in areas]
    if not areas or many and min(covered) > 0:
        return None
    return areas[int(np.argmin(covered))], text, letters  # the first of equal ones


def _covered(area, others):
    """The number of pixels of each of `others` that an area covers."""
    lengths = np.minimum(area[2:], others[:, 2:]) - np.maximum(area[:2], others[:, :2])
    return np.maximum(lengths, 0).prod(axis=1)


def _strokes(low, high, style, line):
    """The rectangles of an outline, on the outermost pixels inside a box, and the width of the dark halo around them.

    Args:
        low, high: the box's first corner, and its last, in pixels.
        style: of STROKES.
        line: the width of the lines; of a small box they are thinner, so that the object is seen.
    """
    # a box's last pixel is the one before its end
    x1, y1, x2, y2 = (int(v) for v in (*np.floor(low), *np.maximum(np.ceil(high) - 1, low)))
    shorter, longer = sorted((x2 - x1 + 1, y2 - y1 + 1))
    line = max(1, min(line, shorter, max(line // 3, shorter // 6)))
    dash, gap = (line * part for part in STROKES[style] or (longer, 0))
    pieces = []
    for x, end in _dashes(x1, x2, dash, gap):
        pieces += [(x, y, end, y + line - 1) for y in (y1, max(y1, y2 - line + 1))]
    for y, end in _dashes(y1, y2, dash, gap):
        pieces += [(x, y, x + line - 1, end) for x in (x1, max(x1, x2 - line + 1))]
    return pieces, max(1, line // 3)


def _dashes(first, last, dash, gap):
    """[(start, end)] of the dashes of a line, one at each of its ends, so that corners are closed."""
    length = last - first + 1
    dash = dash if 2 * dash + gap <= length or not gap else max(1, length // 3)
    count = max(1, round((length - dash) / (dash + gap))) if length > dash else 0
    starts = np.linspace(first, max(first, last - dash + 1), count + 1).round().astype(int).tolist()
    return [(start, min(start + dash - 1, last)) for start in starts]


def _ink(color):
    """Black or white, whichever is more legible on a color: by its luminance, ITU-R BT.709."""
    return INK if np.dot(color, (0.2126, 0.7152, 0.0722)) > 110 else PAPER
