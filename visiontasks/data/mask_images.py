"""Reads masks: the numbers or colors that an image file stores, without a change."""

import os
from typing import NamedTuple

import numpy as np

from visiontasks.data.images import MAX_PIXELS, bytes_of, damage, header_of, is_cut, large_alone
from visiontasks.errors import BadImage, DataError

_LOSSY = ("JPEG", "MPO", "AVIF", "HEIF")


class StoredMask(NamedTuple):
    """What a mask file stores, before it is known what that means.

    values: int32 (H, W), numbers as stored, of a palette image its indices, of a color image 0xRRGGBB.
    palette: int32 (256,), the color 0xRRGGBB of each index, -1 where there is none; None: no palette image.
    colored: whether the values are colors; three equal channels are numbers.
    lossy: whether its compression changes values.
    """

    values: np.ndarray
    palette: np.ndarray | None = None
    colored: bool = False
    lossy: bool = False

    def as_colors(self) -> np.ndarray:
        """int32 (H, W), the colors 0xRRGGBB of the image that it is; -1: it has none."""
        if self.colored:
            return self.values
        if self.palette is None:
            return np.where(self.values < 256, self.values * 0x10101, -1)
        return self.palette[self.values]


def read_mask(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read the numbers in a mask file: int32 (H, W), as stored; of a palette image, its indices.

    It can be any lossless single-channel image of 1 to 16 bits, or RGB with three equal channels.

    Raises:
        BadImage: as `read_image`.
        DataError: the file holds colors, or its compression is lossy, so the numbers cannot be known.
    """
    return decode_mask(bytes_of(path), path, max_pixels)


def decode_mask(data: bytes, name: str | os.PathLike = "", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """`read_mask` for the bytes of a file; errors call it `name`."""
    stored = decode_stored_mask(data, name, max_pixels)
    if stored.lossy:
        raise DataError(
            f"mask {name}: expected a lossless image such as PNG, got a compression as JPEG's, which changes class "
            "indices; export the masks again as PNG."
        )
    if stored.colored:
        raise DataError(
            f"mask {name}: expected one class index per pixel (single-channel or palette PNG), got "
            "RGB colors; write the class index of each color instead (0, 1, 2, …; 255 = void)."
        )
    return stored.values


def read_stored_mask(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> StoredMask:
    """Read a mask file of numbers, of palette indices or of colors, lossless or not.

    Raises:
        BadImage: as `read_image`.
        DataError: the file holds numbers below 0, above 65535 or with a fraction.
    """
    return decode_stored_mask(bytes_of(path), path, max_pixels)


def decode_stored_mask(data: bytes, name: str | os.PathLike = "", max_pixels: int = MAX_PIXELS) -> StoredMask:
    """`read_stored_mask` for the bytes of a file; errors call it `name`."""
    header = header_of(data, name, max_pixels)
    with damage(header, name):
        if is_cut(header, data):
            raise BadImage(name, f"truncated {header.format}: its end marker is missing")
        lossy, palette = header.format in _LOSSY or header.format == "WEBP" and b"VP8L" not in data, None
        raw_mode = header.tile[0].args if header.tile else ""
        with large_alone(header):
            values = np.asarray(header.convert("RGB") if header.mode in ("CMYK", "YCbCr", "LAB", "HSV") else header)
        if header.mode in ("P", "PA"):
            palette = _packed(np.array(header.getpalette(), np.uint8).reshape(-1, 3))
            palette = np.concatenate([palette, np.full(256 - len(palette), -1, np.int32)])
    if values.ndim == 3:
        first, *others = (values[..., c] for c in range(1 if header.mode in ("LA", "PA") else 3))
        if any((first != other).any() for other in others):
            return StoredMask(_packed(values), None, True, lossy)
        values = first
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 0xFFFF) or values.dtype.kind == "f" and (values != values.round()).any():
        raise DataError(
            f"mask {name}: expected class indices, whole numbers from 0 to 65535, got numbers from {low:g} to "
            f"{high:g}; write the masks as PNG."
        )
    # Pillow stretches 2-bit and 4-bit gray to 0..255; undo it to get class indices
    stretch = {"L;2": 85, "L;4": 17}.get(raw_mode if isinstance(raw_mode, str) else "", 1)
    return StoredMask(values.astype(np.int32) // stretch, palette, False, lossy)


def _packed(colors: np.ndarray) -> np.ndarray:
    """(…, 3) RGB of 8 bits as int32 0xRRGGBB."""
    packed = np.zeros((*colors.shape[:-1], 4), np.uint8)
    packed[..., 2::-1] = colors[..., :3]
    return packed.view("<i4")[..., 0].astype(np.int32, copy=False)
