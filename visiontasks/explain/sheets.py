"""Contact sheets of channels: filters, feature maps, and the patches that excite them."""

from collections.abc import Sequence

import cv2
import numpy as np

from visiontasks.drawing.panels import captioned, contact_sheet, grid, side_by_side
from visiontasks.explain.exciting import Patch

CELL = 48  # pixels of a filter
IN_A_ROW = 4
PATCH = 160  # of a patch
BRIGHTEST = (
    99.5  # the percentile of a reconstruction's values that is drawn black or white, for single ones are far off
)


def filter_sheet(kernels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): filters (F, h, w, 3 or 1), each scaled alike up and down from gray, which is 0."""
    kernels = np.broadcast_to(kernels, (*kernels.shape[:3], 3))
    large = [cv2.resize(_around_gray(one), (CELL, CELL), interpolation=cv2.INTER_NEAREST_EXACT) for one in kernels]
    return grid([np.pad(one, ((2, 2), (2, 2), (0, 0)), constant_values=255) for one in large])


def _around_gray(values, percentile=100.0):
    largest = np.percentile(np.abs(values), percentile)
    return np.round(127.5 + 127.5 * (values / max(largest, 1e-12)).clip(-1, 1)).astype(np.uint8)


def map_sheet(image: np.ndarray, maps: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """uint8 (H, W, 3): an image, and below it a row of feature maps for each level, each from its least to its most."""
    rows = [side_by_side([captioned(image)], ["image"])]
    for level, (numbers, values) in maps.items():
        panels = [_colored(one) for one in values]
        rows.append(side_by_side(panels, [f"{level} {number}" for number in numbers]))
    return contact_sheet(rows)


def _colored(values):
    low, high = float(values.min()), float(values.max())
    levels = np.round(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)
    height, width = levels.shape
    factor = -(-256 // max(height, width))
    levels = cv2.resize(levels, (width * factor, height * factor), interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[..., ::-1]


def dream_sheet(tap: str, channels: Sequence[int], images: np.ndarray, values: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): dreams (N, h, w, 3) in rows, with their channels and the means of the feature maps they give."""
    titles = [f"{tap} {channel}: {value:.3g}" for channel, value in zip(channels, values, strict=True)]
    rows = range(0, len(images), IN_A_ROW)
    return contact_sheet([side_by_side(images[i : i + IN_A_ROW], titles[i : i + IN_A_ROW]) for i in rows])


def patch_sheet(tap: str, patches: dict[int, Sequence[Patch]]) -> np.ndarray:
    """uint8 (H, W, 3): a row of patches for each channel, and below them their reconstructions, if they have some.

    What of a field exceeds the image is white. A reconstruction is scaled up and down from gray, which is 0.
    """
    rows = []
    for channel, best in patches.items():
        titles = [f"{tap} {channel}: {best[0].value:.3g}", *(f"{patch.value:.3g}" for patch in best[1:])]
        rows.append(side_by_side([_whole(patch.field, patch.pixels) for patch in best], titles))
        if best[0].reconstruction is not None:
            drawn = [_around_gray(patch.reconstruction, BRIGHTEST) for patch in best]
            rows.append(side_by_side([_whole(*one) for one in zip((p.field for p in best), drawn, strict=True)]))
    return contact_sheet(rows)


def _whole(field, pixels):
    whole = np.full((field.bottom - field.top, field.right - field.left, 3), 255, np.uint8)
    top, left = max(0, -field.top), max(0, -field.left)
    height, width = pixels.shape[:2]
    whole[top : top + height, left : left + width] = pixels
    longer = max(whole.shape[:2])
    size = tuple(max(1, round(length * PATCH / longer)) for length in whole.shape[1::-1])
    return cv2.resize(whole, size, interpolation=cv2.INTER_NEAREST_EXACT if longer < PATCH else cv2.INTER_AREA)
