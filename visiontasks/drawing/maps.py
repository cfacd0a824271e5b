"""Draws heat maps and vector fields over images."""

from collections.abc import Sequence

import cv2
import numpy as np

from visiontasks.drawing.panels import Entry, captioned, fitted, unit

# a field's directions, by their angle; "twilight" is cyclic, and even in lightness for every kind of color vision
_DIRECTIONS = (("to the right", 0.0), ("down", 0.25), ("to the left", 0.5), ("up", 0.75))
FAINT = 0.35  # how much of the image is left below maps


def heat_drawn(image: np.ndarray, maps: Sequence[np.ndarray], windows: Sequence[Sequence[float]]) -> np.ndarray:
    """The image, gray and dark, with heat maps over windows of it; where they overlap, the highest value.

    Args:
        image: uint8 (H, W, 3).
        maps: each float (h, w), 0..1.
        windows: (left, top, right, bottom) of each, in the image's pixels.
    """
    below = fitted(image)
    heat = np.zeros(below.shape[:2], np.float32)
    for values, window in zip(maps, windows, strict=True):
        values = np.ascontiguousarray(values, np.float32)
        # a peak that is narrower than a pixel is seen nevertheless
        narrow = 1 + np.ceil(1 / np.maximum(_scale(values, window, image, below), 1e-6)).astype(int)
        narrow = np.where(narrow > 2, narrow, 1)
        values = cv2.dilate(values, np.ones(np.minimum(narrow, values.shape[1::-1])[::-1], np.uint8))
        _place(heat, values, window, image, np.maximum)
    heat = heat.clip(0, 1)
    inks = cv2.applyColorMap(np.round(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    entries = [Entry(f"{value:g}", _ink(cv2.COLORMAP_INFERNO, value)) for value in (0.25, 0.5, 0.75, 1)]
    return captioned(_over(below, inks, heat), entries)


def anomalies_drawn(image: np.ndarray, values: np.ndarray, title: str) -> np.ndarray:
    """The image, gray and dark, with a heat map over it whose threshold is 1: a white line there, no color at 0.

    Args:
        image: uint8 (H, W, 3).
        values: float (H, W), not negative; the color of 2 and above is the same.
        title: the first line of the legend.
    """
    below = fitted(image)
    heat = cv2.resize(np.float32(values) / 2, below.shape[1::-1], interpolation=cv2.INTER_LINEAR).clip(0, 1)
    inks = cv2.applyColorMap(np.round(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    drawn = _over(below, inks, heat)
    outlines, _ = cv2.findContours((heat >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, (255, 255, 255), max(1, unit(below) // 10))
    entries = [Entry(f"{value:g}", _ink(cv2.COLORMAP_INFERNO, value / 2)) for value in (0.5, 1, 1.5, 2)]
    return captioned(drawn, [Entry(title), *entries])


def field_drawn(image: np.ndarray, fields: Sequence[np.ndarray], windows: Sequence[Sequence[float]]) -> np.ndarray:
    """The image, gray and dark, with vector fields over windows of it: the color is the direction, as in the legend.

    Args:
        image: uint8 (H, W, 3).
        fields: each float (h, w, 2), x and y; a length of 1 and above covers the image.
        windows: (left, top, right, bottom) of each, in the image's pixels.
    """
    below = fitted(image)
    field = np.zeros((*below.shape[:2], 2), np.float32)
    for values, window in zip(fields, windows, strict=True):
        _place(field, np.ascontiguousarray(values, np.float32), window, image, np.add)
    turns = np.arctan2(field[..., 1], field[..., 0]) / (2 * np.pi) % 1
    inks = cv2.applyColorMap(np.round(255 * turns).astype(np.uint8), cv2.COLORMAP_TWILIGHT)[..., ::-1]
    length = np.linalg.norm(field, axis=-1).clip(0, 1)
    entries = [Entry(name, _ink(cv2.COLORMAP_TWILIGHT, turn)) for name, turn in _DIRECTIONS]
    return captioned(_over(below, inks, length), entries)


def _scale(values, window, image, below):
    """Pixels of the fitted image per column and per row of the values over a window."""
    (rows, columns), (left, top, right, bottom) = values.shape[:2], window
    return (
        np.float64([right - left, bottom - top]) * np.divide(below.shape[1::-1], image.shape[1::-1]) / (columns, rows)
    )


def _place(drawn, values, window, image, join):
    """Join values over a window, interpolated to pixels, with `drawn`, which is as large as the fitted image."""
    factor, scale = np.divide(drawn.shape[1::-1], image.shape[1::-1]), _scale(values, window, image, drawn)
    corners = np.float64(window).reshape(2, 2) * factor
    # only the pixels that the values reach, half a cell beyond the window
    first = np.clip(np.floor(corners[0] - scale / 2), 0, drawn.shape[1::-1]).astype(int)
    last = np.clip(np.ceil(corners[1] + scale / 2), 0, drawn.shape[1::-1]).astype(int)
    if (first >= last).any():
        return
    # the first cell's center lies at 0 for OpenCV, half a cell and half a pixel away from here
    shift = corners[0] + scale / 2 - 0.5 - first
    matrix = np.float64([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    placed = cv2.warpAffine(values, matrix, tuple((last - first).tolist()), flags=cv2.INTER_LINEAR)
    part = drawn[first[1] : last[1], first[0] : last[0]]
    part[:] = join(part, placed)


def _over(below, inks, shares):
    gray = cv2.cvtColor(cv2.cvtColor(below, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * FAINT
    return np.round(gray + shares[..., None] * (inks - gray)).astype(np.uint8)


def _ink(table, share):
    pixel = np.full((1, 1), round(255 * share), np.uint8)
    return tuple(cv2.applyColorMap(pixel, table)[0, 0, ::-1].tolist())
