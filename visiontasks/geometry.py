"""Where a picture lies on the fixed canvas that a network sees, and the way back to its own pixels."""

import dataclasses

import cv2
import numpy as np

from visiontasks.sample import VOID

MODES = ("stretch", "letterbox", "crop")
SAMPLED = 0.4  # of a side: down to it a bilinear sample sees four of five pixels, at a seventh of averaging's time
PAD_VALUE = 114  # mid grey, near the mean of natural pictures, so that padding excites no filter much


class _Laid:
    """A picture of `original` (height, width), scaled to `resized`, its corner at `offset` on a canvas of `size`."""

    @property
    def scale(self) -> tuple[float, float]:
        """(scale_y, scale_x) from original pixels to canvas pixels."""
        return tuple(r / o for r, o in zip(self.resized, self.original, strict=True))

    @property
    def changes_nothing(self) -> bool:
        """Whether the canvas is the picture as it is."""
        return tuple(self.original) == tuple(self.resized) == tuple(self.size) and not any(self.offset)

    def place_image(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) of the original to uint8 (*size, 3): bilinear; area averaging below `SAMPLED` of a side."""
        if min(self.scale) < SAMPLED:
            # averaging alone does not enlarge: a side that grows does so after the other one has shrunk
            (rows, columns), (height, width) = image.shape[:2], self.resized
            image = cv2.resize(image, (min(width, columns), min(height, rows)), interpolation=cv2.INTER_AREA)
        return self._place(image, cv2.INTER_LINEAR, PAD_VALUE)

    def place_mask(self, mask: np.ndarray) -> np.ndarray:
        """int32 (H, W) of class numbers to int32 `size`: always by the nearest pixel; padding is void."""
        # OpenCV has no nearest-exact resize for int32; class numbers up to 32767 are exact in int16
        return self._place(mask.astype(np.int16), cv2.INTER_NEAREST_EXACT, VOID).astype(np.int32)

    def _place(self, array, interpolation, fill):
        height, width = self.resized
        if array.shape[:2] != (height, width):
            array = cv2.resize(array, (width, height), interpolation=interpolation)
        (top, left), (rows, columns) = self.offset, self.size
        if (height, width) == (rows, columns) and not (top or left):
            return array
        array = array[max(0, -top) : max(0, rows - top), max(0, -left) : max(0, columns - left)]
        if not array.size:  # it lies beside the canvas
            return np.full((rows, columns, *array.shape[2:]), fill, array.dtype)
        top, left = max(0, top), max(0, left)
        bottom, right = rows - array.shape[0] - top, columns - array.shape[1] - left
        return cv2.copyMakeBorder(array, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(fill,) * 3)


@dataclasses.dataclass(frozen=True)
class Position(_Laid):
    """A picture of `original` pixels scaled to `resized`, laid with its corner at `offset` on a canvas of `size`.

    All are (height, width), or (top, left). A point (x, y) of the original, in continuous pixel coordinates where the
    first pixel spans 0..1, lies at (x * scale_x + left, y * scale_y + top); of what hangs over the canvas shows a part.
    """

    original: tuple[int, int]
    size: tuple[int, int]
    resized: tuple[int, int]
    offset: tuple[int, int] = (0, 0)


@dataclasses.dataclass(frozen=True)
class Placement(_Laid):
    """How a picture of `original` (height, width) lies on a canvas of `size` (height, width), as a `Position` does.

    Modes: `stretch` fills the canvas and may change the aspect ratio; `letterbox` keeps the ratio and pads around the
    centre; `crop` keeps the ratio, covers the canvas and cuts what hangs over around the centre.
    """

    original: tuple[int, int]
    size: tuple[int, int]
    mode: str = "stretch"

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"resize: expected one of {', '.join(MODES)}; got {self.mode!r}.")

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) of the whole picture once scaled, before padding or cutting."""
        if self.mode == "stretch":
            return self.size
        ratios = [s / o for s, o in zip(self.size, self.original, strict=True)]
        ratio = min(ratios) if self.mode == "letterbox" else max(ratios)
        # the binding side is exact; the other is rounded, and never to nothing
        return tuple(
            s if r == ratio else max(1, round(o * ratio))
            for s, o, r in zip(self.size, self.original, ratios, strict=True)
        )

    @property
    def offset(self) -> tuple[int, int]:
        """(top, left) of the scaled picture on the canvas; negative where it hangs over."""
        return tuple((s - r) // 2 for s, r in zip(self.size, self.resized, strict=True))

    def restore_map(self, values: np.ndarray) -> np.ndarray:
        """float32 (*size, C) over the canvas to float32 (*original, C): padding cut away, then bilinear; C <= 512.

        Raises:
            ValueError: the mode is `crop`: a part of the picture was never seen.
        """
        if self.mode == "crop":
            raise ValueError(
                "resize: crop hides a part of the picture, so a map cannot be brought back to it; "
                "use data.resize=letterbox or data.resize=stretch for tasks with pixels or boxes."
            )
        (top, left), (height, width) = self.offset, self.resized
        values = np.ascontiguousarray(values[top : top + height, left : left + width], dtype=np.float32)
        rows, columns = self.original
        if (rows, columns) == (height, width):
            return values
        # OpenCV resizes at most 512 channels at once
        return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_LINEAR).reshape(rows, columns, -1)

    def restore_boxes(self, boxes: np.ndarray) -> np.ndarray:
        """float32 (N, 4) x1, y1, x2, y2 on the canvas to the original's pixels, cut to it; in every mode.

        The inverse of how transforms place boxes: `restore_boxes(boxes * scale + offset)` are the boxes. One that lies
        beside the picture altogether, on padding, comes back with no width or no height.
        """
        (scale_y, scale_x), (top, left), (height, width) = self.scale, self.offset, self.original
        # in float64: a quotient of float32 would be off by some thousandths of a pixel in a large picture
        corners = (np.asarray(boxes, np.float64).reshape(-1, 2, 2) - (left, top)) / (scale_x, scale_y)
        return np.clip(corners, 0, (width, height)).astype(np.float32).reshape(-1, 4)
