"""The class of each pixel of a mask, by a table lookup."""

import functools
from collections.abc import Sequence

import numpy as np

from visiontasks.data.mask_images import StoredMask
from visiontasks.errors import BadImage

_UNKNOWN = 254


class MaskLookup:
    """Gives the classes of a stored mask by a table lookup.

    Args:
        table: {value or color: class or VOID}; None: each value is its class.
        of_colors: whether the keys are colors 0xRRGGBB; gray and palette masks are taken as colors then.
        nearest: keys of the table; other values get the class of the nearest of them. Empty: they are an error.
    """

    def __init__(self, table: dict[int, int] | None = None, of_colors: bool = False, nearest: Sequence[int] = ()):
        self.table, self.of_colors, self.nearest = table, of_colors, list(nearest)

    def __call__(self, mask: StoredMask, path) -> np.ndarray:
        """int32 (H, W), the class of each pixel.

        Raises:
            BadImage: the mask has changed since the table was made.
        """
        if self.table is None:
            return mask.values
        if self.of_colors and not mask.colored:
            colors = np.arange(256) * 0x10101 if mask.palette is None else mask.palette
            lookup = np.where(colors < 0, _UNKNOWN, self._lookup[colors])
        else:
            lookup = self._lookup
        if not mask.colored and mask.values.max() >= len(lookup) or mask.colored and not self.of_colors:
            raise BadImage(path, "mask that has changed since it was checked")
        classes = lookup[mask.values]
        if (classes == _UNKNOWN).any():
            raise BadImage(path, "mask that has changed since it was checked")
        return classes.astype(np.int32)

    @functools.cached_property
    def _lookup(self) -> np.ndarray:
        keys = np.array(sorted(self.table))
        classes = np.array([self.table[key] for key in keys.tolist()], np.uint8)
        lookup = np.full(2**24 if self.of_colors else 2**16, _UNKNOWN, np.uint8)
        if self.nearest:
            near = np.isin(keys, self.nearest)
            lookup = (_nearest_color if self.of_colors else _nearest_value)(keys[near], classes[near])
        lookup[keys] = classes
        return lookup

    def __getstate__(self):  # a process makes its own
        return {key: value for key, value in vars(self).items() if key != "_lookup"}


def _nearest_value(keys, classes) -> np.ndarray:
    return classes[np.searchsorted((keys[1:] + keys[:-1]) / 2, np.arange(2**16))]


def _nearest_color(keys, classes) -> np.ndarray:
    """The class of the nearest color, to 8 levels of a channel."""
    levels = np.arange(4, 256, 8)
    red, green, blue = (keys >> shift & 255 for shift in (16, 8, 0))
    away = (levels[:, None, None, None] - red) ** 2 + (levels[:, None, None] - green) ** 2
    nearest = classes[(away + (levels[:, None] - blue) ** 2).argmin(axis=-1)]
    return nearest.repeat(8, 0).repeat(8, 1).repeat(8, 2).ravel()
