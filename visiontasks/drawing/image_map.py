"""Draws a map of images: a thumbnail where each image lies, framed in the color of its class."""

from collections.abc import Sequence

import cv2
import numpy as np

from visiontasks.drawing.colors import GRAY, color
from visiontasks.drawing.panels import PAPER, Entry, captioned

SIDE, MARGIN = 2048, 40  # pixels of the longer dimension, and of the border


def image_map(
    positions: np.ndarray,
    thumbnails: dict[int, np.ndarray],
    labels: np.ndarray,
    names: Sequence[str] = (),
    thumbnail: int = 64,
) -> np.ndarray:
    """A drawing uint8 (H, W, 3) with a legend of the classes.

    Where thumbnails would cover each other, the first one is drawn, and a point for each of the others.

    Args:
        positions: float (N, 2), x and y in 0..1, y downward.
        thumbnails: {number of the image: uint8 (h, w, 3)}; the others are points.
        labels: int (N,), -1 = not labeled.
        names: of the classes.
        thumbnail: pixels of a thumbnail's width and height.
    """
    placed = positions - positions.min(axis=0)
    placed = placed * ((SIDE - 1 - 2 * MARGIN) / max(1e-9, placed.max()))
    places = np.round(MARGIN + placed).astype(int)
    width, height = places.max(axis=0) + 1 + MARGIN
    sheet = np.full((height, width, 3), PAPER, np.uint8)
    colors = [color(label) if label >= 0 else GRAY for label in labels.tolist()]
    shown = _apart(places, list(thumbnails), thumbnail)
    for number in sorted(set(range(len(places))) - set(shown)):
        cv2.circle(sheet, places[number].tolist(), 3, colors[number], -1, cv2.LINE_AA)
    half, edge = thumbnail // 2, max(2, thumbnail // 16)
    for number in shown:
        small = cv2.resize(thumbnails[number], (thumbnail, thumbnail), interpolation=cv2.INTER_AREA)
        x, y = np.clip(places[number] - half, 0, (width - thumbnail, height - thumbnail))
        sheet[y : y + thumbnail, x : x + thumbnail] = small
        cv2.rectangle(sheet, (x, y), (x + thumbnail - 1, y + thumbnail - 1), colors[number], edge)
    present = np.unique(labels[labels >= 0])
    return captioned(sheet, [Entry(names[label], color(label)) for label in present.tolist()])


def _apart(places, numbers, room) -> list[int]:
    """Of some images those whose squares of `room` pixels do not meet an earlier one's."""
    taken, shown = {}, []
    for number in numbers:
        x, y = places[number].tolist()
        cell = x // room, y // room  # only the eight cells around it can hold one that is too near
        near = (taken.get((cell[0] + i, cell[1] + j)) for i in (-1, 0, 1) for j in (-1, 0, 1))
        if all(one is None or max(abs(x - one[0]), abs(y - one[1])) >= room for one in near):
            taken[cell] = x, y
            shown.append(number)
    return shown
