"""`InstanceMasks`: the masks of an image's objects, each as polygons, run lengths or the pixels of a small window."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from visiontasks import polygons, run_lengths
from visiontasks.mask_shapes import Moved, Patch, Shape, is_empty, misfit, window

NO_MASK = 255  # fills the crop of an object that has no mask


class InstanceMasks:
    """The masks of N objects of an image of `size` (height, width).

    Whole masks would take N times the image's pixels. Polygons stay polygons while they are moved, as exact as they
    were; their pixels are those that COCO gives them. Pixels stay what they are, and a map says where they lie.
    Coordinates are continuous: the first pixel spans 0..1.

    Args:
        shapes: one for each object; `checked` says whether they fit.
        size: (height, width) of the image; what lies outside is not part of a mask.
    """

    def __init__(self, shapes: Iterable[Shape], size: tuple[int, int]):
        self.shapes, self.size = tuple(shapes), (int(size[0]), int(size[1]))
        self._checked = False

    @classmethod
    def of(cls, masks: np.ndarray) -> "InstanceMasks":
        """From uint8 (N, H, W), 0 or 1."""
        return cls((window(Patch(0, 0, mask)) for mask in masks), masks.shape[1:])

    @classmethod
    def of_crops(cls, crops: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> "InstanceMasks":
        """The masks of crops (N, M, M) in boxes (N, 4): what `crops` gives, back on the image."""

        def shape(crop, box):
            if (crop == NO_MASK).all():
                return None
            scale = (box[2:] - box[:2]) / crop.shape[0]
            return window(_on_image(Moved(crop, np.column_stack([np.diag(scale), box[:2]])), size))

        return cls(map(shape, crops, np.asarray(boxes, np.float64)), size)

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, index) -> "InstanceMasks":
        """The masks that an array of bool or int selects, or a slice; of an int, the one."""
        if isinstance(index, slice):
            return self._with(self.shapes[index])
        numbers = np.atleast_1d(np.arange(len(self))[index])
        return self._with(self.shapes[number] for number in numbers)

    def __iter__(self) -> Iterator["InstanceMasks"]:
        return (self[number] for number in range(len(self)))

    def __add__(self, other: "InstanceMasks") -> "InstanceMasks":
        """Both images' objects, on one image.

        Raises:
            ValueError: the images differ in size.
        """
        if self.size != other.size:
            raise ValueError(f"size: expected masks of one image size, got {self.size} and {other.size}.")
        both = self._with(self.shapes + other.shapes)
        both._checked = self._checked and other._checked
        return both

    def _with(self, shapes, size=None) -> "InstanceMasks":
        """Masks made of these, which need no further check if these needed none."""
        made = InstanceMasks(shapes, self.size if size is None else size)
        made._checked = self._checked
        return made

    def checked(self) -> "InstanceMasks":
        """The same masks, whose shapes fit their image; one of which nothing lies in it becomes None.

        Masks made of checked ones are not looked at again.

        Raises:
            ValueError: a shape does not fit.
        """
        if not self._checked:
            for number, shape in enumerate(self.shapes):
                if wrong := misfit(shape, self.size):
                    raise ValueError(f"object {number}: {wrong}")
        elif () not in self.shapes:
            return self
        parts = [(n, part) for n, shape in enumerate(self.shapes) if isinstance(shape, tuple) for part in shape]
        points = [part for _, part in parts]
        if not np.isfinite(np.concatenate(points or [np.zeros((0, 2))])).all():
            number = next(n for n, part in parts if not np.isfinite(part).all())
            raise ValueError(f"object {number}: expected finite points of polygons, got NaN or infinity.")
        inside = zip(parts, polygons.inside(points, self.size), strict=True)
        seen = {number for (number, _), part in inside if len(part) > 2}

        def nothing(number, shape):
            return number not in seen if isinstance(shape, tuple) else is_empty(shape)

        masks = self._with(None if nothing(*one) else one[1] for one in enumerate(self.shapes))
        masks._checked = True
        return masks

    @property
    def known(self) -> np.ndarray:
        """bool (N,): the objects that have a mask."""
        return np.array([shape is not None for shape in self.shapes], bool)

    @property
    def empty(self) -> np.ndarray:
        """bool (N,): the objects of whose mask a move has left nothing."""
        return np.array([is_empty(shape) for shape in self.shapes], bool)

    def patch(self, number: int) -> Patch | None:
        """An object's mask inside the image as pixels, in the smallest window; None if it has none."""
        shape = self.shapes[number]
        if shape is None or isinstance(shape, Patch):
            return shape
        if isinstance(shape, Moved):
            return _on_image(shape, self.size)
        return Patch(*run_lengths.decoded([self.rle(number)])[0])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """`np.asarray(masks)`: uint8 (N, H, W), 0 or 1; an object without a mask has no pixels.

        Raises:
            ValueError: `copy` is False.
        """
        if copy is False:
            raise ValueError("copy: expected None or True, got False; the whole masks are made, so use np.asarray.")
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
        """float32 (N, 4): the box around the pixels whose center a mask has; zeros for an empty mask or none."""
        boxes = np.zeros((len(self), 4), np.float32)
        parts = [(n, p) for n, shape in enumerate(self.shapes) if isinstance(shape, tuple) for p in shape if len(p) > 2]
        low = [np.clip(np.floor(p.min(axis=0)), 0, self.size[::-1]).astype(int) for _, p in parts]
        high = [np.clip(np.ceil(p.max(axis=0)), 0, self.size[::-1]).astype(int) for _, p in parts]
        windows = [(b - a)[::-1] for a, b in zip(low, high, strict=True)]
        grids = polygons.filled([p - a for a, (_, p) in zip(low, parts, strict=True)], windows)
        patches = [(n, Patch(*a, grid).tight()) for (n, _), a, grid in zip(parts, low, grids, strict=True)]
        patches += [(n, self.patch(n)) for n, shape in enumerate(self.shapes) if not isinstance(shape, tuple)]
        for number, patch in patches:
            if patch is None or not patch.pixels.size:
                continue
            rows, columns = patch.pixels.shape
            box, (x, y) = boxes[number], (patch.left, patch.top)
            if not box.any():
                box[:2] = x, y
            box[:] = *np.minimum(box[:2], (x, y)), *np.maximum(box[2:], (x + columns, y + rows))
        return boxes

    def rle(self, number: int) -> dict | None:
        """A mask as COCO's compressed run lengths, {"size", "counts"}; None if the object has none."""
        shape = self.shapes[number]
        if isinstance(shape, tuple):
            return run_lengths.of_polygons(shape, self.size)
        if isinstance(shape, dict):
            return {"size": shape["size"], "counts": shape["counts"]}
        patch = self.patch(number)
        return patch and run_lengths.encoded(patch.left, patch.top, patch.pixels, self.size)

    def text(self, number: int) -> dict | None:
        """As `rle`, as JSON has it."""
        runs = self.rle(number)
        if runs is None:
            return None
        counts = runs["counts"]
        return {"size": list(map(int, runs["size"])), "counts": counts if isinstance(counts, str) else counts.decode()}

    def outlines(self, number: int) -> list[np.ndarray]:
        """A mask as polygons (P, 2), none for an empty one: its own, or around its pixels.

        Raises:
            ValueError: the object has no mask.
        """
        if (shape := self.shapes[number]) is None:
            raise ValueError(f"number: object {number} has no mask.")
        if isinstance(shape, tuple):
            return list(shape)
        patch = self.patch(number)
        return [polygon + (patch.left, patch.top) for polygon in polygons.outlines(patch.pixels)]

    def moved(self, matrix: np.ndarray, size: tuple[int, int]) -> "InstanceMasks":
        """The masks after an affine map of the image, (2, 3), to an image of `size`.

        What lies outside of either image is cut off: it does not come back with a later move.
        """
        matrix, shapes = np.asarray(matrix, np.float64), self._with_pixels()
        parts = [part for shape in shapes if isinstance(shape, tuple) for part in shape]
        parts = iter(polygons.moved(parts, matrix, self.size, size))
        pixels = iter(_moved([shape for shape in shapes if isinstance(shape, Moved)], matrix, size))

        def move(shape):
            if isinstance(shape, tuple):
                there = [next(parts) for _ in shape]
                return tuple(polygon for polygon in there if len(polygon) > 2)
            return shape and next(pixels)

        return self._with(map(move, shapes), size)

    def _with_pixels(self):
        """The shapes, but those with pixels as `Moved`."""
        runs = [shape for shape in self.shapes if isinstance(shape, dict)]
        windows = iter(run_lengths.decoded(runs))

        def placed(shape):
            if isinstance(shape, dict):
                left, top, pixels = next(windows)
            elif isinstance(shape, Patch):
                left, top, pixels = shape.left, shape.top, shape.pixels
            else:
                return shape
            return Moved(pixels, np.array([[1.0, 0.0, left], [0.0, 1.0, top]])) if pixels.size else ()

        return [placed(shape) for shape in self.shapes]

    def within(self, region: np.ndarray) -> "InstanceMasks":
        """What of the masks lies in a region, bool (H, W). Objects without a mask stay so."""

        def of(number):
            if (patch := self.patch(number)) is None:
                return None
            rows, columns = patch.pixels.shape
            seen = region[patch.top : patch.top + rows, patch.left : patch.left + columns]
            return window(Patch(patch.left, patch.top, patch.pixels * seen.astype(np.uint8)))

        return self._with(map(of, range(len(self))))

    def crops(self, boxes: np.ndarray, size: int) -> np.ndarray:
        """Each mask as it lies in its box, on a grid of size × size: uint8 (N, size, size), 0 or 1.

        All 255 for an object that has no mask, or none in its box. A cell has the value at its center.

        Args:
            boxes: float (N, 4), not empty.
            size: cells per row and column.
        """
        boxes, shapes = np.asarray(boxes, np.float64), self._with_pixels()
        scales = size / (boxes[:, 2:] - boxes[:, :2])
        # from the image to each grid
        maps = np.concatenate([scales[:, None] * np.eye(2), (-boxes[:, :2] * scales)[..., None]], axis=2)
        crops, numbers, parts = np.zeros((len(self), size, size), np.uint8), [], []
        for number, shape in enumerate(shapes):
            if isinstance(shape, Moved):
                crops[number] = _resampled(shape.pixels, _product(maps[number], shape.matrix), (size, size))
            elif shape is not None:
                parts += [(points - boxes[number, :2]) * scales[number] for points in shape]
                numbers += [number] * len(shape)
        for number, pixels in zip(numbers, polygons.filled(parts, [(size, size)] * len(parts)), strict=True):
            crops[number] |= pixels
        crops[~crops.any(axis=(1, 2))] = NO_MASK
        return crops


def _product(second, first) -> np.ndarray:
    """The affine map, (2, 3), that applies one after the other."""
    product = second[..., :2] @ first
    product[..., 2] += second[..., 2]
    return product


def _moved(masks, matrix, size) -> list[Moved | tuple]:
    """Pixels after a further affine map, without those that lie outside of an image of `size`; () if none is left."""
    if not masks:
        return []
    matrices, extents = _product(matrix, np.stack([one.matrix for one in masks])), [one.pixels.shape for one in masks]
    corners = _corners(matrices, np.array(extents))
    across = ((corners < 0) | (corners > np.array(size[::-1])[:, None])).any(axis=(1, 2)).tolist()

    def cut(one, to, crosses):
        if not crosses:
            return Moved(one.pixels, to)
        pixels = _cut(one.pixels, to, size)
        return Moved(pixels, to) if pixels.any() else ()

    return list(map(cut, masks, matrices, across))


def _corners(matrices, extents) -> np.ndarray:
    """(N, 2, 4): where affine maps (N, 2, 3) move the corners of windows of (height, width)."""
    windows = np.ones((len(extents), 3, 4))
    windows[:, 0] = extents[:, 1:] * [0, 1, 0, 1]
    windows[:, 1] = extents[:, :1] * [0, 0, 1, 1]
    return matrices @ windows


def _cut(pixels, matrix, size):
    inside = True
    across, down = (np.arange(count) + 0.5 for count in pixels.shape[::-1])
    for (a, b, c), limit in zip(matrix.tolist(), size[::-1], strict=True):
        # mostly one of the two is 0: then a row or a column decides
        terms = [a * across[None], b * down[:, None]]
        there = sum((one for one in terms if np.abs(one[-1, -1]) > 1e-6), np.full((1, 1), c))
        reach = (abs(a) + abs(b)) / 2 - 1e-6  # of a pixel from its center: what is partly inside stays
        inside = inside & (there > -reach) & (there < limit + reach)
    return pixels * inside.view(np.uint8)


def _on_image(moved: Moved, size) -> Patch:
    """The pixels whose center lies in a moved pixel of the mask."""
    (corners,) = _corners(moved.matrix[None], np.array([moved.pixels.shape]))
    low = np.clip(np.floor(corners.min(axis=1)), 0, size[::-1]).astype(int)
    high = np.clip(np.ceil(corners.max(axis=1)), 0, size[::-1]).astype(int)
    if not moved.pixels.size or (high <= low).any():
        return Patch(0, 0, np.zeros((0, 0), np.uint8))
    matrix = moved.matrix - [[0, 0, low[0]], [0, 0, low[1]]]
    return Patch(*low.tolist(), _resampled(moved.pixels, matrix, tuple((high - low)[::-1].tolist()))).tight()


def _resampled(pixels, matrix, size) -> np.ndarray:
    """uint8 `size`: at each center, the value of the pixel that an affine map moves there; 0 beyond all pixels."""
    if not pixels.size:
        return np.zeros(size, np.uint8)
    matrix = matrix.copy()
    matrix[:, 2] += (matrix[:, 0] + matrix[:, 1] - 1) / 2  # between pixel centers, which OpenCV numbers from 0
    return cv2.warpAffine(pixels, matrix, size[::-1], flags=cv2.INTER_NEAREST)
