"""Places an image on a network's canvas, and maps predictions back to the image's pixels."""

import dataclasses

import cv2
import numpy as np

from visiontasks.sample import VOID

MODES = ("stretch", "letterbox", "crop")
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
