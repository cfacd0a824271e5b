"""Places an image on a network's canvas, and maps predictions back to the image's pixels."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from visiontasks.sample import VOID

MODES = ("stretch", "letterbox", "crop")  # of a Placement
RESIZES = (*MODES, "object")  # and of a Window
PADDING = 1.25  # of the box of an object that fills the canvas alone: what is shown around it
SAMPLED = 0.4  # bilinear resizing from this scale up, where it reads four of five pixels in a seventh of the time
PAD_VALUE = 114  # mid gray, near the mean of natural images: filters respond little to such padding


class _Layout:
    """An image of `original` (height, width), scaled to `resized`, its corner at `offset` on a canvas of `size`."""

    @property
    def scale(self) -> tuple[float, float]:
        """(scale_y, scale_x) from original pixels to canvas pixels."""
        return tuple(r / o for r, o in zip(self.resized, self.original, strict=True))

    @property
    def is_identity(self) -> bool:
        """Whether the canvas equals the original image."""
        return tuple(self.original) == tuple(self.resized) == tuple(self.size) and not any(self.offset)

    def place_image(self, image: np.ndarray) -> np.ndarray:
        """Resize and place uint8 (H, W, 3) on uint8 (*size, 3): bilinear, or area averaging below a scale of 0.4."""
        if min(self.scale) < SAMPLED:
            # INTER_AREA averages only when it shrinks: first shrink one axis, then let bilinear enlarge the other
            (rows, columns), (height, width) = image.shape[:2], self.resized
            image = cv2.resize(image, (min(width, columns), min(height, rows)), interpolation=cv2.INTER_AREA)
        return self._place(image, cv2.INTER_LINEAR, PAD_VALUE)

    def place_mask(self, mask: np.ndarray) -> np.ndarray:
        """Resize and place int32 (H, W) class indices on int32 `size`: nearest pixel; padding is void."""
        # OpenCV has no nearest-exact resize for int32; class indices up to 32767 are exact in int16
        return self._place(mask.astype(np.int16), cv2.INTER_NEAREST_EXACT, VOID).astype(np.int32)

    def _place(self, array, interpolation, fill):
        height, width = self.resized
        if array.shape[:2] != (height, width):
            array = cv2.resize(array, (width, height), interpolation=interpolation)
        (top, left), (rows, columns) = self.offset, self.size
        if (height, width) == (rows, columns) and not (top or left):
            return array
        array = array[max(0, -top) : max(0, rows - top), max(0, -left) : max(0, columns - left)]
        if not array.size:  # the image lies outside of the canvas
            return np.full((rows, columns, *array.shape[2:]), fill, array.dtype)
        top, left = max(0, top), max(0, left)
        bottom, right = rows - array.shape[0] - top, columns - array.shape[1] - left
        return cv2.copyMakeBorder(array, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(fill,) * 3)

    def restore_boxes(self, boxes: np.ndarray, clip: bool = True) -> np.ndarray:
        """Map float32 (N, 4) boxes on the canvas back to the original's pixels, in every mode.

        It inverts `boxes * scale + offset`. By default boxes are clipped to the image: one that lies on padding alone
        comes back with zero width or height.
        """
        height, width = self.original
        corners = self.restore_points(np.reshape(boxes, (-1, 2, 2)))
        return (np.clip(corners, 0, np.float32([width, height])) if clip else corners).reshape(-1, 4)

    def restore_points(self, points: np.ndarray) -> np.ndarray:
        """Map float32 (…, 2) x, y on the canvas back to the original's pixels, in every mode, without clipping."""
        (scale_y, scale_x), (top, left) = self.scale, self.offset
        # in float64: a quotient in float32 would be off by some thousandths of a pixel in a large image
        return ((np.asarray(points, np.float64) - (left, top)) / (scale_x, scale_y)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Position(_Layout):
    """An image of `original` pixels, scaled to `resized`, with its corner at `offset` on a canvas of `size`.

    All are (height, width), or (top, left). Coordinates are continuous: the first pixel spans 0..1. A point (x, y) of
    the original lies at (x * scale_x + left, y * scale_y + top). What exceeds the canvas is cut off.
    """

    original: tuple[int, int]
    size: tuple[int, int]
    resized: tuple[int, int]
    offset: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True)
class Placement(_Layout):
    """The `Position` that a resize mode gives an image of `original` (height, width) on a canvas of `size`.

    Modes: `stretch` fills the canvas and may change the aspect ratio. `letterbox` keeps the ratio and pads around the
    image. `crop` keeps the ratio, covers the canvas and cuts off what exceeds it; the center stays.
    """

    original: tuple[int, int]
    size: tuple[int, int]
    mode: str = "stretch"

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"resize: expected one of {', '.join(MODES)}; got {self.mode!r}.")

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) of the whole image after scaling, before padding or cropping."""
        if self.mode == "stretch":
            return self.size
        ratios = [s / o for s, o in zip(self.size, self.original, strict=True)]
        ratio = min(ratios) if self.mode == "letterbox" else max(ratios)
        # the axis that limits the ratio is exact; the other is rounded, to 1 pixel at least
        return tuple(
            s if r == ratio else max(1, round(o * ratio))
            for s, o, r in zip(self.size, self.original, ratios, strict=True)
        )

    @property
    def offset(self) -> tuple[int, int]:
        """(top, left) of the scaled image on the canvas; negative if it exceeds the canvas."""
        return tuple((s - r) // 2 for s, r in zip(self.size, self.resized, strict=True))

    def restore_map(self, values: np.ndarray) -> np.ndarray:
        """Map float32 (*size, C) on the canvas back to float32 (*original, C): crop the padding, resize bilinearly.

        Raises:
            ValueError: the mode is `crop`, so the network did not see the whole image.
        """
        if self.mode == "crop":
            raise ValueError(
                "resize: crop hides a region of the image, so a map cannot be restored to the whole image; "
                "use resize=letterbox or resize=stretch for tasks with pixels or boxes."
            )
        (top, left), (height, width) = self.offset, self.resized
        values = np.ascontiguousarray(values[top : top + height, left : left + width], dtype=np.float32)
        rows, columns = self.original
        if (rows, columns) == (height, width):
            return values
        # OpenCV resizes at most 512 channels at once
        return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_LINEAR).reshape(rows, columns, -1)


@dataclasses.dataclass(frozen=True)
class Window(_Layout):
    """A window of an image of `original` (height, width), which fills a canvas of `size`; it may exceed the image.

    `window` is (left, top, right, bottom) in the image's pixels, not rounded. What it shows of no image is gray.
    """

    original: tuple[int, int]
    size: tuple[int, int]
    window: tuple[float, float, float, float]

    @classmethod
    def around(cls, box: Sequence[float], original: tuple[int, int], size: tuple[int, int]) -> "Window":
        """The window of the canvas's aspect ratio around a box, x1, y1, x2, y2, and `PADDING` times as large."""
        x1, y1, x2, y2 = map(float, box)
        height, width = size
        unit = PADDING * max((x2 - x1) / width, (y2 - y1) / height, 1e-6)
        x, y, across, down = (x1 + x2) / 2, (y1 + y2) / 2, unit * width / 2, unit * height / 2
        return cls(tuple(original), tuple(size), (x - across, y - down, x + across, y + down))

    @property
    def scale(self):
        left, top, right, bottom = self.window
        return self.size[0] / (bottom - top), self.size[1] / (right - left)

    @property
    def offset(self):
        (scale_y, scale_x), (left, top, _, _) = self.scale, self.window
        return -top * scale_y, -left * scale_x

    @property
    def is_identity(self):
        return tuple(self.original) == tuple(self.size) and self.window == (0, 0, *self.size[::-1])

    @property
    def matrix(self) -> np.ndarray:
        """float64 (2, 3): from the image's pixels to the canvas's."""
        (scale_y, scale_x), (top, left) = self.scale, self.offset
        return np.array([[scale_x, 0, left], [0, scale_y, top]])

    def place_image(self, image):
        return warped(image, self.matrix, self.size)

    def place_mask(self, mask):
        return warped_mask(mask, self.matrix, self.size)


def warped(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W, 3) under an affine map (2, 3) of pixels, on a gray canvas of (height, width); bilinear.

    Where it shrinks an image to less than 0.4, what it reads is first averaged, so that no pixel is skipped.
    """
    matrix = np.asarray(matrix, np.float64)
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    # only what the canvas shows: shrinking the rest would take the most time
    corners = np.array([[0, 0], [size[1], 0], [0, size[0]], [size[1], size[0]]]) - matrix[:, 2]
    corners = np.linalg.solve(matrix[:, :2], corners.T)
    low, high = np.floor(corners.min(axis=1)).astype(int) - 2, np.ceil(corners.max(axis=1)).astype(int) + 2
    low, high = np.maximum(low, 0), np.minimum(high, image.shape[1::-1])
    if (low >= high).any():
        return np.full((*size, 3), PAD_VALUE, np.uint8)
    image = image[low[1] : high[1], low[0] : high[0]]
    matrix = matrix @ np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1]])
    if scale < SAMPLED:
        before = image.shape[1::-1]
        after = tuple(max(1, round(length * scale)) for length in before)
        image = cv2.resize(image, after, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([before[0] / after[0], before[1] / after[1], 1])
    border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": (PAD_VALUE,) * 3}
    return cv2.warpAffine(image, _of_centers(matrix), size[::-1], flags=cv2.INTER_LINEAR, **border)


def warped_mask(mask: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """int32 (H, W) class indices under an affine map (2, 3) of pixels: nearest pixel; elsewhere void."""
    border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": VOID}
    matrix = _of_centers(np.asarray(matrix, np.float64))
    return cv2.warpAffine(mask.astype(np.int16), matrix, size[::-1], flags=cv2.INTER_NEAREST, **border).astype(np.int32)


def _of_centers(matrix):
    """The map as OpenCV has it: there the first pixel's center lies at 0, here at 0.5."""
    return np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2].sum(axis=1) / 2 - 0.5])
