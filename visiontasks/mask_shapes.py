"""What the mask of one object may be: polygons, run lengths, or pixels, moved or not."""

import dataclasses

import numpy as np
from pycocotools import mask as coco_mask

from visiontasks import run_lengths


@dataclasses.dataclass(frozen=True, eq=False)
class Patch:
    """A mask inside a window of its image.

    Args:
        left, top: the window's first column and row.
        pixels: uint8 (height, width) of the window, 0 or 1.
    """

    left: int
    top: int
    pixels: np.ndarray

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the window."""
        rows, columns = self.pixels.shape
        return self.left, self.top, self.left + columns, self.top + rows

    def tight(self) -> "Patch":
        """The smallest window that holds the mask; of an empty mask a window without pixels."""
        rows, columns = (np.flatnonzero(self.pixels.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return Patch(self.left, self.top, np.zeros((0, 0), np.uint8))
        pixels = self.pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Patch(self.left + int(columns[0]), self.top + int(rows[0]), pixels)


@dataclasses.dataclass(frozen=True, eq=False)
class Moved:
    """A mask whose pixels a move has not touched yet: however often it is moved, they are read once.

    Args:
        pixels: uint8 (height, width), 0 or 1.
        matrix: float64 (2, 3), the affine map from their coordinates to the image's.
    """

    pixels: np.ndarray
    matrix: np.ndarray


# polygons, float arrays (P, 2) of x, y in pixels, whose union is the mask, () for an empty mask; COCO's compressed run
# lengths of the image's size; pixels, moved or not; or None: the object has no mask
Shape = tuple[np.ndarray, ...] | dict | Patch | Moved | None


def window(patch: Patch) -> Patch | tuple:
    """The smallest window of a mask; () for an empty one."""
    patch = patch.tight()
    return patch if patch.pixels.size else ()


def is_empty(shape: Shape) -> bool:
    """Whether it is a mask without a pixel."""
    if isinstance(shape, dict):
        return not (shape["lengths"][1::2].any() if "lengths" in shape else coco_mask.area(shape))
    return shape == () or isinstance(shape, (Patch, Moved)) and not shape.pixels.any()


def misfit(shape: Shape, size: tuple[int, int]) -> str | None:
    """What is wrong with a shape in an image of (height, width): what was expected and what came; None if it fits."""
    if shape is None:
        return None
    if isinstance(shape, tuple):
        return next(filter(None, map(_misfit_polygon, shape)), None)
    if isinstance(shape, dict):
        return _misfit_runs(shape, size)
    if not isinstance(shape, (Patch, Moved)):
        return f"expected a tuple of polygons, run lengths, a Patch or None, got {type(shape).__name__}."
    pixels = shape.pixels
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.max(initial=0) > 1:
        return f"expected pixels of 0 or 1 in uint8 (height, width), got {_came(pixels)}."
    if isinstance(shape, Moved):
        fits = np.shape(shape.matrix) == (2, 3) and np.isfinite(shape.matrix).all()
        return None if fits else f"expected a finite matrix (2, 3), got {_came(shape.matrix)}."
    (height, width), (left, top, right, bottom) = size, shape.extent
    if left < 0 or top < 0 or right > width or bottom > height:
        return (
            f"expected a window within the image, {width} wide and {height} high, got columns {left} to {right} and "
            f"rows {top} to {bottom}. Cut what lies outside."
        )
    return None


def _misfit_polygon(points) -> str | None:
    form = isinstance(points, np.ndarray) and points.dtype.kind == "f" and points.ndim == 2 and points.shape[1] == 2
    if not form or len(points) < 3:
        return f"expected polygons of three or more points, float (P, 2), got {_came(points)}."
    return None


def _misfit_runs(runs, size) -> str | None:
    if (written := tuple(runs.get("size", ()))) != size:
        return f"expected run lengths of the image's (height, width) {size}, got {written}."
    if "lengths" in runs:  # whoever wrote them there has checked them
        return None
    counts = runs.get("counts")
    lengths = run_lengths.lengths_of(counts) if isinstance(counts, (bytes, str)) else None
    # pycocotools does not look at them, and reads beyond their end
    if lengths is None or (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        text = repr(counts)
        return (
            f"expected compressed run lengths that add up to {size[0]} × {size[1]}, got "
            f"{text if len(text) <= 80 else text[:77] + '…'}. Compress them with pycocotools.mask.frPyObjects."
        )
    return None


def _came(value) -> str:
    array = isinstance(value, np.ndarray)
    values = f" up to {value.max()}" if array and value.dtype == np.uint8 and value.size else ""
    return f"{value.dtype} {value.shape}{values}" if array else type(value).__name__
