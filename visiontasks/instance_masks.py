"""`InstanceMasks`: the masks of an image's objects, each as polygons, run lengths or the pixels of a small window."""

import dataclasses
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from pycocotools import mask as coco_mask

NO_MASK = 255  # fills the crop of an object that has no mask


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

    def tight(self) -> "Patch":
        """The smallest window that holds the mask; of an empty mask a window without pixels."""
        rows, columns = (np.flatnonzero(self.pixels.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return Patch(self.left, self.top, np.zeros((0, 0), np.uint8))
        pixels = self.pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Patch(self.left + int(columns[0]), self.top + int(rows[0]), pixels)


# polygons, arrays (P, 2) of x, y in pixels, whose union is the mask; COCO's compressed run lengths of the image's size;
# pixels; or nothing: the object has no mask
Shape = tuple[np.ndarray, ...] | dict | Patch | None


class InstanceMasks:
    """The masks of N objects of an image of `size` (height, width).

    Whole masks would take N times the image's pixels. Polygons stay polygons while they are moved, as exact as they
    were; their pixels are those that COCO gives them. Moved pixels are kept in the window that holds them. Coordinates
    are continuous: the first pixel spans 0..1.

    Args:
        shapes: one for each object.
        size: (height, width) of the image; what lies outside is not part of a mask.
    """

    def __init__(self, shapes: Iterable[Shape], size: tuple[int, int]):
        self.shapes, self.size = tuple(shapes), (int(size[0]), int(size[1]))

    @classmethod
    def of(cls, masks: np.ndarray) -> "InstanceMasks":
        """From uint8 (N, H, W), 0 or 1."""
        return cls((Patch(0, 0, mask).tight() for mask in masks), masks.shape[1:])

    @classmethod
    def of_crops(cls, crops: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> "InstanceMasks":
        """The masks of crops (N, M, M) in boxes (N, 4): what `crops` gives, back on the image."""

        def shape(crop, box):
            if (crop == NO_MASK).all():
                return None
            scale = (box[2:] - box[:2]) / crop.shape[0]
            return _warped(Patch(0, 0, crop), np.column_stack([np.diag(scale), box[:2]]), size)

        return cls(map(shape, crops, np.asarray(boxes, np.float64)), size)

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, index) -> "InstanceMasks":
        """The masks that an array of bool or int selects, or a slice; of an int, the one."""
        if isinstance(index, slice):
            return InstanceMasks(self.shapes[index], self.size)
        numbers = np.atleast_1d(np.arange(len(self))[index])
        return InstanceMasks((self.shapes[number] for number in numbers), self.size)

    def __iter__(self) -> Iterator["InstanceMasks"]:
        return (self[number] for number in range(len(self)))

    def __add__(self, other: "InstanceMasks") -> "InstanceMasks":
        """Both images' objects, on one image.

        Raises:
            ValueError: the images differ in size.
        """
        if self.size != other.size:
            raise ValueError(f"size: expected masks of images of {self.size}, got {other.size}.")
        return InstanceMasks(self.shapes + other.shapes, self.size)

    @property
    def known(self) -> np.ndarray:
        """bool (N,): the objects that have a mask."""
        return np.array([shape is not None for shape in self.shapes], bool)

    @property
    def empty(self) -> np.ndarray:
        """bool (N,): the objects of whose mask a move has left nothing."""

        def nothing(shape):
            if isinstance(shape, dict):
                return not coco_mask.area(shape)
            return shape == () or isinstance(shape, Patch) and not shape.pixels.any()

        return np.array([nothing(shape) for shape in self.shapes], bool)

    def patch(self, number: int) -> Patch | None:
        """An object's mask inside the image as pixels, in the smallest window; None if it has none."""
        shape = self.shapes[number]
        return shape if shape is None or isinstance(shape, Patch) else _patch(self.rle(number))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """`np.asarray(masks)`: uint8 (N, H, W), 0 or 1; an object without a mask has no pixels."""
        masks = np.zeros((len(self), *self.size), np.uint8)
        for number, mask in enumerate(masks):
            if patch := self.patch(number):
                rows, columns = patch.pixels.shape
                mask[patch.top : patch.top + rows, patch.left : patch.left + columns] = patch.pixels
        return masks if dtype is None else masks.astype(dtype)

    def flat(self, order: Iterable[int], visible: float = 0.0) -> np.ndarray:
        """int32 (H, W): the number of the mask that each pixel belongs to, or -1.

        Args:
            order: numbers of objects that have a mask, the one on top first.
            visible: masks of which those before them leave less than this share are left out.
        """
        labels = np.full(self.size, -1, np.int32)
        for number in order:
            patch = self.patch(number)
            rows, columns = patch.pixels.shape
            window = labels[patch.top : patch.top + rows, patch.left : patch.left + columns]
            free = (window < 0) & (patch.pixels > 0)
            if free.sum() >= visible * patch.pixels.sum():
                window[free] = number
        return labels

    def areas(self) -> np.ndarray:
        """float32 (N,): each mask's pixels inside the image; NaN for an object that has none."""
        patches = map(self.patch, range(len(self)))
        return np.array([np.nan if patch is None else patch.pixels.sum() for patch in patches], np.float32)

    def boxes(self) -> np.ndarray:
        """float32 (N, 4): the box around each mask's pixels; zeros for an empty mask or none."""
        boxes = np.zeros((len(self), 4), np.float32)
        for number, box in enumerate(boxes):
            if (patch := self.patch(number)) and patch.pixels.size:
                rows, columns = patch.pixels.shape
                box[:] = patch.left, patch.top, patch.left + columns, patch.top + rows
        return boxes

    def rle(self, number: int) -> dict | None:
        """A mask as COCO's compressed run lengths, {"size", "counts"}; None if the object has none."""
        shape = self.shapes[number]
        if shape is None or isinstance(shape, dict):
            return shape
        if isinstance(shape, tuple):
            return _runs(shape, self.size)
        return _encoded(shape, self.size)

    def text(self, number: int) -> dict | None:
        """As `rle`, as JSON has it."""
        runs = self.rle(number)
        if runs is None:
            return None
        counts = runs["counts"]
        return {"size": list(map(int, runs["size"])), "counts": counts if isinstance(counts, str) else counts.decode()}

    def moved(self, matrix: np.ndarray, size: tuple[int, int]) -> "InstanceMasks":
        """The masks after an affine map of the image, (2, 3), to an image of `size`.

        Pixels are interpolated inside the window alone. What lies outside of either image is cut off: it does not come
        back with a later move.
        """
        matrix = np.asarray(matrix, np.float64)

        def move(shape):
            if shape is None:
                return None
            if not isinstance(shape, tuple):
                return _warped(_patch(shape) if isinstance(shape, dict) else shape, matrix, size)
            here = (_clipped(polygon, self.size) for polygon in shape)
            there = (_clipped(polygon @ matrix[:, :2].T + matrix[:, 2], size) for polygon in here)
            return tuple(polygon for polygon in there if len(polygon) > 2)

        return InstanceMasks(map(move, self.shapes), size)

    def within(self, region: np.ndarray) -> "InstanceMasks":
        """What of the masks lies in a region, bool (H, W). Objects without a mask stay so."""

        def of(number):
            if (patch := self.patch(number)) is None:
                return None
            rows, columns = patch.pixels.shape
            seen = region[patch.top : patch.top + rows, patch.left : patch.left + columns]
            return Patch(patch.left, patch.top, patch.pixels * seen.astype(np.uint8)).tight()

        return InstanceMasks(map(of, range(len(self))), self.size)

    def crops(self, boxes: np.ndarray, size: int) -> np.ndarray:
        """Each mask as it lies in its box, on a grid of size × size: uint8 (N, size, size), 0 or 1.

        All 255 for an object that has no mask, or none in its box. A cell has the value at its center.

        Args:
            boxes: float (N, 4), not empty.
            size: cells per row and column.
        """
        crops = np.full((len(self), size, size), NO_MASK, np.uint8)
        for crop, box, shape in zip(crops, np.asarray(boxes, np.float64), self.shapes, strict=True):
            scale = size / (box[2:] - box[:2])
            if isinstance(shape, (dict, Patch)):
                patch = _patch(shape) if isinstance(shape, dict) else shape
                crop[:] = _resampled(patch, np.diag(scale), -box[:2] * scale, (size, size)) if patch.pixels.size else 0
            elif shape is not None:
                crop[:] = coco_mask.decode(_runs([(points - box[:2]) * scale for points in shape], (size, size)))
            if not crop.any():
                crop[:] = NO_MASK
        return crops


def _clipped(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of a polygon inside an image. Sutherland and Hodgman 1974, https://doi.org/10.1145/360767.360802.

    Parts that only the outside connects stay connected, by an edge along the border.
    """
    for axis, limit in enumerate(size[::-1]):
        for side, edge in ((1, 0.0), (-1, float(limit))):
            inside = side * (polygon[:, axis] - edge) >= 0
            if inside.all():
                continue
            before, was_inside = np.roll(polygon, 1, axis=0), np.roll(inside, 1)
            crosses = inside != was_inside
            with np.errstate(divide="ignore", invalid="ignore"):
                share = (edge - before[:, axis]) / (polygon[:, axis] - before[:, axis])
                crossing = before + share[:, None] * (polygon - before)
            crossing[:, axis] = edge
            # of each edge first where it crosses, then where it ends
            points = np.stack([crossing, polygon], axis=1).reshape(-1, 2)
            polygon = points[np.stack([crosses, inside], axis=1).ravel()]
    return polygon


def _runs(polygons, size) -> dict:
    """The union of polygons as run lengths."""
    flat = [polygon.ravel().tolist() for polygon in polygons if len(polygon) > 2]
    if not flat:
        return coco_mask.encode(np.zeros(size, np.uint8, order="F"))
    return coco_mask.merge(coco_mask.frPyObjects(flat, *size))


def _patch(runs: dict) -> Patch:
    """The pixels of run lengths, without decoding the rest of the image."""
    height, _ = runs["size"]
    left, top, width, rows = (int(value) for value in coco_mask.toBbox(runs))
    # columns follow each other in runs of zeros and ones
    edges = np.concatenate([[0], np.cumsum(run_lengths(runs["counts"]))])
    lengths = np.diff(np.clip(edges, left * height, (left + width) * height))
    columns = np.repeat((np.arange(len(lengths)) & 1).astype(np.uint8), lengths).reshape(width, height)
    return Patch(left, top, np.ascontiguousarray(columns[:, top : top + rows].T))


def _encoded(patch: Patch, size) -> dict:
    """The run lengths of a patch, without the pixels of the rest of the image."""
    (height, width), (rows, columns) = size, patch.pixels.shape
    strip = np.zeros((columns, height), np.uint8)
    strip[:, patch.top : patch.top + rows] = patch.pixels.T
    edges = np.flatnonzero(np.diff(strip.ravel(), prepend=0, append=0)) + patch.left * height
    counts = np.diff(np.concatenate([[0], edges, [height * width]]))
    counts = counts if counts[-1] else counts[:-1]
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)


def run_lengths(text: bytes | str) -> np.ndarray | None:
    """int64 (R,): the run lengths in COCO's compressed text; None if it is damaged.

    A character has five bits of a number and whether more follow; from the third run on a number is the difference to
    the run two before.
    """
    text = text.encode() if isinstance(text, str) else text
    bits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(bits & 32 == 0)
    if not len(bits) or ends[-1:].tolist() != [len(bits) - 1] or (bits < 0).any() or (bits >= 64).any():
        return None
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > 7:  # more than 32 bits
        return None
    starts = ends - lengths + 1
    runs = np.add.reduceat((bits & 31) << 5 * (np.arange(len(bits)) - np.repeat(starts, lengths)), starts)
    runs -= np.where(bits[ends] & 16, 1 << 5 * lengths, 0)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs


def _warped(patch: Patch, matrix: np.ndarray, size: tuple[int, int]) -> Patch:
    """A patch after an affine map to an image of `size`: where the interpolated mask is a half or more."""
    rows, columns = patch.pixels.shape
    if not patch.pixels.size:
        return patch
    corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]]) + (patch.left, patch.top)
    corners = corners @ matrix[:, :2].T + matrix[:, 2]
    low = np.clip(np.floor(corners.min(axis=0)), 0, size[::-1]).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, size[::-1]).astype(int)
    if (high <= low).any():
        return Patch(0, 0, np.zeros((0, 0), np.uint8))
    width, height = (high - low).tolist()
    pixels = _resampled(patch, matrix[:, :2], matrix[:, 2] - low, (height, width))
    return Patch(int(low[0]), int(low[1]), pixels)


def _resampled(patch, linear, offset, size) -> np.ndarray:
    """uint8 `size`: where a patch is a half or more after an affine map, interpolated."""
    # between pixel centers, which OpenCV numbers from 0
    offset = linear @ (np.array([patch.left, patch.top]) + 0.5) + offset - 0.5
    pixels = cv2.warpAffine(patch.pixels * 255, np.column_stack([linear, offset]), size[::-1])
    return (pixels > 127).view(np.uint8)
