"""What the masks of a data set store, seen in one look at each: values or colors, how many pixels have each."""

import collections
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visiontasks.data.mask_images import StoredMask
from visiontasks.data.mask_tables import unpacked
from visiontasks.sample import VOID

_KEPT = 1024  # distinct colors of one mask, the most frequent: a photograph has a hundred thousand
_APART = 32  # gray levels, or levels of a channel, between classes: what lies nearer is noise of JPEG, or an edge
_FEW = 24
_FEWEST = 4  # masks that tell numbers of objects from classes


class Stored(NamedTuple):
    """The height and width of a mask, its distinct values, their pixels, and the colors of a palette's."""

    size: tuple[int, int]
    values: np.ndarray
    pixels: np.ndarray
    colors: np.ndarray | None
    colored: bool
    lossy: bool

    @classmethod
    def of(cls, mask: StoredMask) -> "Stored":
        if mask.colored:
            flat = mask.values.ravel()  # masks are of one color over long runs: sort the runs, not the pixels
            starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
            values, where = np.unique(flat[starts], return_inverse=True)
            pixels = np.bincount(where, np.diff(starts, append=len(flat))).astype(np.int64)
            most = np.sort(np.argsort(-pixels, kind="stable")[:_KEPT])
            return cls(mask.values.shape, values[most], pixels[most], None, True, mask.lossy)
        pixels = np.bincount(mask.values.ravel())
        values = np.flatnonzero(pixels)
        colors = None if mask.palette is None or values[-1] > 255 else mask.palette[values]
        return cls(mask.values.shape, values, pixels[values], colors, False, mask.lossy)

    def as_colors(self) -> np.ndarray:
        """The values as colors; -1: it has none."""
        if self.colored:
            return self.values
        return np.where(self.values < 256, self.values * 0x10101, -1) if self.colors is None else self.colors


class Stores:
    """What all masks of a data set store.

    Attributes:
        values: {value: pixels} of the masks, a palette's indices among them.
        colors: {color: pixels} of the masks as images, gray and palette too.
        colored, palettes, lossy: the first mask with colors, the masks with a palette, and those of lossy files.
    """

    def __init__(self, masks: Iterable[tuple[Path, Stored]]):
        self.masks = list(masks)
        self.values, self.colors = collections.Counter(), collections.Counter()
        for _, stored in self.masks:
            for counter, keys in ((self.values, stored.values), (self.colors, stored.as_colors())):
                for key, count in zip(keys.tolist(), stored.pixels.tolist(), strict=True):
                    counter[key] += count
        self.colored = next((path for path, stored in self.masks if stored.colored), None)
        self.palettes = [path for path, stored in self.masks if stored.colors is not None]
        self.lossy = [path for path, stored in self.masks if stored.lossy]

    def first(self, key: int, of_colors: bool = False) -> Path:
        """The first mask that has a value, or a color."""
        return next(path for path, one in self.masks if key in (one.as_colors() if of_colors else one.values))

    def seem_numbers(self) -> bool:
        """Whether the masks seem to number objects: each from 1 without gaps, and not all to the same."""
        ends = {int(one.values[-1]) for _, one in self.masks}
        runs = (len(one.values[one.values > 0]) == one.values[-1] for _, one in self.masks)
        return self.colored is None and len(ends) > 1 and len(self.masks) >= _FEWEST and all(runs)

    def contradicting_palettes(self) -> dict[int, int] | None:
        """{color: the index that most palettes give it}, if an index is not one color in all palettes; else None."""
        indices = collections.defaultdict(collections.Counter)
        colors = collections.defaultdict(set)
        for _, stored in self.masks:
            if stored.colors is None:
                continue
            for index, color in zip(stored.values.tolist(), stored.colors.tolist(), strict=True):
                indices[color][index] += 1
                colors[index].add(color)
        if all(len(own) == 1 for own in colors.values()):
            return None
        return {color: min(own, key=lambda index: (-own[index], index)) for color, own in indices.items()}


def is_noise(others: dict[int, int], pixels: dict[int, int], lossy: bool) -> bool:
    """Whether values other than those of classes are soft edges, or what JPEG makes of a value."""
    return lossy or len(others) >= 3 and sum(others.values()) < 0.3 * sum(pixels.values())


def peaks(pixels: dict[int, int], of_colors: bool = False, lossy: bool = False) -> list[int]:
    """The values that seem to be classes: all of a few; of many, those with most pixels that lie apart."""
    total = sum(pixels.values())
    if not of_colors and max(pixels) < 256:
        return _gray_peaks(np.array([pixels.get(value, 0) for value in range(256)]), lossy)
    if len(pixels) <= _FEW and not lossy:
        return sorted(pixels)
    found = []
    for key in sorted(pixels, key=pixels.get, reverse=True):
        if pixels[key] < 0.002 * total or len(found) == 64:
            break
        if all(max(abs(a - b) for a, b in zip(unpacked(key), unpacked(one), strict=True)) >= _APART for one in found):
            found.append(key)
    return sorted(found)


def _gray_peaks(pixels, lossy) -> list[int]:
    present = np.flatnonzero(pixels)
    inner = pixels[1:255].sum()
    few = len(present) <= _FEW and not lossy
    if few and not (pixels[0] and pixels[255] and len(present) >= 5 and inner < 0.1 * pixels.sum()):
        return present.tolist()
    if few:
        return [0, 255]
    near = np.convolve(pixels, np.ones(17, np.int64), "same")
    least = max(0.001 * pixels.sum(), 4 * np.median(near[16:240]))
    found = []
    for value in np.argsort(-pixels, kind="stable").tolist():
        if pixels[value] and near[value] >= least and all(abs(value - one) >= _APART for one in found):
            found.append(value)
    return sorted(found)


def shares(pixels: dict[int, int], of_colors: bool = False, total: int | None = None, most: int = 8) -> str:
    """The values with most pixels and the share of each, for people: 0 (81%), 255 (17%) and 34 more."""
    total = total or sum(pixels.values())
    keys = sorted(pixels, key=pixels.get, reverse=True)
    parts = [
        f"{unpacked(key) if of_colors else key} ({100 * pixels[key] / total:.2g}%)".replace("1e+02%", "100%")
        for key in keys[:most]
    ]
    return ", ".join(parts) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def are_flat(colors: dict[int, int], found: list[int]) -> bool:
    """Whether most pixels have about the colors found, and a fifth exactly these: those of a photograph do not."""
    total = sum(colors.values())
    if not found or sum(colors[color] for color in found) < 0.2 * total:
        return False
    own, peak = (np.array([unpacked(color) for color in some]) for some in (colors, found))
    near = (np.abs(own[:, None] - peak).max(axis=-1) < _APART).any(axis=1)
    return np.array(list(colors.values()))[near].sum() >= 0.7 * total


def are_soft(pixels: dict[int, int]) -> bool:
    """Whether gray values look like those of a few classes with soft edges between them."""
    if max(pixels) > VOID:
        return False
    found = peaks(pixels)
    others = {value: count for value, count in pixels.items() if value not in found}
    wide = len(found) > 1 and found[-1] - found[0] >= 128 and any(value >= 128 for value in others)
    return wide and is_noise(others, pixels, False)
