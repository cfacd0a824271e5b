"""Draws products as an inspection camera sees them, some with a defect: fabric, brushed metal and a plate of studs."""

from collections.abc import Callable

import cv2
import numpy as np

from visiontasks.data.textures import BITS, clouds, fixed_point, to_bytes

DEFECTS = ("scratch", "spot", "missing")
STUDS = 4  # in each row and column of a plate
STUD = 0.3  # a stud's radius, in distances between studs


def draw_surface(
    rng: np.random.Generator, size: tuple[int, int], surface: str, defective: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 image (H, W, 3), uint8 mask (H, W): 1 where the product has a defect) of `size` (height, width).

    All images of a surface show one product; noise, light, and the place of its pattern within limits differ.
    """
    defect = str(rng.choice(DEFECTS)) if defective else ""
    gone = rng.integers(STUDS, size=2) if defect == "missing" else None
    image, missing = _SURFACES[surface](rng, size, gone)
    mask = np.zeros(size, np.uint8)
    if defect == "missing":
        image, mask = (image, missing) if missing is not None else _covered(image, _blob(rng, size), np.full(3, 25.0))
    elif defect:
        alpha = _scratch(rng, size) if defect == "scratch" else np.uint8(rng.uniform(0.4, 0.9) * _blob(rng, size))
        image, mask = _covered(image, alpha, _ink(rng, image, alpha))
    light = cv2.resize(rng.uniform(0.95, 1.05, (2, 2)).astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    noise = rng.uniform(1.5, 3.5) * rng.standard_normal((*size, 3), np.float32)
    return to_bytes(image * (rng.uniform(0.95, 1.05) * light)[..., None] + noise), mask


def _fabric(rng, size, gone):
    rows, columns = (np.arange(length) * (2 * np.pi * 20 / min(size)) + rng.uniform(0, 2 * np.pi) for length in size)
    threads = np.where(np.sin(rows)[:, None] * np.sin(columns) > 0, np.cos(2 * rows)[:, None], np.cos(2 * columns))
    values = 14 * threads.astype(np.float32) + 3 * clouds(rng, size, 12)
    return np.float32([88, 104, 138]) + values[..., None], None


def _metal(rng, size, gone):
    streaks = cv2.resize(rng.standard_normal((size[0], 6), np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.float32([150, 152, 156]) + (9 * streaks + 3 * clouds(rng, size, 6))[..., None], None


def _plate(rng, size, gone):
    """Studs in rows; `gone` is the row and column of one that is missing, whose place is the mask."""
    image = np.float32([70, 96, 82]) + 4 * clouds(rng, size, 24)[..., None]
    step = np.divide(size[::-1], STUDS)
    shift, radius = rng.uniform(-0.06, 0.06, 2) * step, STUD * step.min()
    missing = None
    for row in range(STUDS):
        for column in range(STUDS):
            center = (np.array([column, row]) + 0.5) * step + shift
            alpha = _disc(size, center, radius)
            if gone is not None and (row, column) == tuple(gone):
                missing = (alpha > 127).astype(np.uint8)
                continue
            image = _blend(image, alpha, np.float32([178, 150, 90]))
            image = _blend(image, _disc(size, center - 0.3 * radius, 0.35 * radius), np.float32([222, 205, 160]))
    return image, missing


_SURFACES: dict[str, Callable] = {"fabric": _fabric, "metal": _metal, "plate": _plate}


def _disc(size, center, radius):
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return _filled(size, center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _filled(size, outline):
    alpha = np.zeros(size, np.uint8)
    cv2.fillPoly(alpha, [fixed_point(outline, np.zeros(2))], 255, cv2.LINE_AA, BITS)
    return alpha


def _blob(rng, size):
    """Coverage 0..255 of an uneven spot inside the image."""
    radius = rng.uniform(0.04, 0.09) * min(size)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    waves = sum(rng.uniform(-0.2, 0.2) * np.cos(n * angles + rng.uniform(0, 6)) for n in (1, 2, 3))
    center = rng.uniform(1.6 * radius, np.array(size[::-1]) - 1.6 * radius)
    return _filled(size, center + radius * (1 + waves[:, None]) * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _scratch(rng, size):
    """Coverage 0..255 of a thin bent line inside the image."""
    length, angle = rng.uniform(0.2, 0.5) * min(size), rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    bend = rng.uniform(-0.12, 0.12) * length * np.array([-along[1], along[0]])
    places = np.linspace(-0.5, 0.5, 12)[:, None]
    line = length * along * places + bend * (1 - 4 * places**2)
    low, high = -line.min(axis=0) + 2, np.array(size[::-1]) - line.max(axis=0) - 2
    alpha = np.zeros(size, np.uint8)
    width = max(1, round(rng.uniform(0.012, 0.022) * min(size)))
    cv2.polylines(
        alpha, [fixed_point(line + rng.uniform(low, high), np.zeros(2))], False, 255, width, cv2.LINE_AA, BITS
    )
    return alpha


def _ink(rng, image, alpha):
    """A color that is clearly darker or lighter than what it covers."""
    below = image[alpha > 0].mean(axis=0)
    return np.clip(below + rng.choice([-1, 1]) * rng.uniform(25, 80) + rng.uniform(-12, 12, 3), 0, 255)


def _covered(image, alpha, ink):
    """The image under ink, and the mask of what is covered."""
    return _blend(image, alpha, np.float32(ink)), (alpha > alpha.max() // 2).astype(np.uint8)


def _blend(image, alpha, ink):
    share = (alpha / np.float32(255))[..., None]
    return image * (1 - share) + ink * share
