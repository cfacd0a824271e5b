"""Images of 16 bits a channel: which files have them, and how they become 8 bits."""

import cv2
import numpy as np
from PIL import ImageOps

BITS = 16


def is_deep(header) -> bool:
    """Whether an image that Pillow has opened has more than 8 bits a channel, in a range that its file does not say."""
    codec, *_, arguments = header.tile[0] if header.tile else ("", "")
    if header.format == "PPM":
        return arguments == "I;16B" or (codec == "ppm" and arguments[1] == 2**BITS - 1)
    mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return header.mode.startswith("I;16") or ";16" in str(mode)


def decode_deep(data: bytes, header) -> np.ndarray:
    """The values of a file that `is_deep`: uint16 (H, W) or (H, W, 3) RGB, upright; alpha is dropped.

    Raises:
        Exception: of any type; the bytes are damaged.
    """
    if header.format == "TIFF" and header.mode.startswith("I;16"):  # 12 bits in 12, which OpenCV cannot read
        return np.asarray(ImageOps.exif_transpose(header)).astype(np.uint16)
    gray = header.mode in ("I", "I;16")
    flags = cv2.IMREAD_ANYDEPTH | (cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
    values = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if values is None or values.dtype != np.uint16:
        raise ValueError("it cannot be decoded")
    return values if gray else values[..., ::-1]  # of a TIFF, IMREAD_COLOR_RGB gives other values


def needed_bits(values: np.ndarray) -> int:
    """How many bits the largest of some values needs, from 1 up."""
    return max(1, int(values.max()).bit_length())


def to_bytes(values: np.ndarray, bits: int) -> np.ndarray:
    """uint8 RGB (H, W, 3) of uint16 values from 0 up to 2 ** bits - 1: their highest 8 bits, as of 16 bits."""
    scaled = (values >> (bits - 8) if bits >= 8 else values << (8 - bits)).astype(np.uint8)
    return np.ascontiguousarray(scaled) if scaled.ndim == 3 else np.stack([scaled] * 3, axis=-1)
