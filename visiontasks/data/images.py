"""Reads pictures and masks by their bytes, never by their names, and tells a broken file from a whole one."""

import io
import os
import threading
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from visiontasks.data.layout import RESULTS
from visiontasks.errors import BadPicture, DataError

MAX_PIXELS = 2**28  # 16384 x 16384: 0.8 GB as RGB; a bigger header is taken for a decompression bomb
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
}

# naming the formats keeps Pillow from trying those that start other programs (EPS)
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# what OpenCV turns into the same 8-bit RGB as Pillow does, only faster; it takes the high byte of 16 bits
_FAST = {
    (kind, mode)
    for kind in ("JPEG", "MPO", "PNG", "WEBP", "BMP")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
} | {("PPM", mode) for mode in ("1", "L", "RGB", "I")}
_EXIF_ORIENTATION = 0x0112
_PILLOW_LIMIT = threading.Lock()


def read_image(path: str | os.PathLike, report=None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The picture in a file: uint8 (H, W, 3), RGB, upright (EXIF orientation applied).

    The bytes decide what it is, not the suffix. Grey, palette and CMYK become RGB; 16 bits are scaled by 1/256, never
    clipped; alpha is dropped, so that the colours below a transparent pixel show; of an animation the first frame.

    Args:
        path: any path, of any characters.
        report: gets `add(what, path)` for what was mended, such as a `visiontasks.data.sources.source.Report`.
        max_pixels: height times width above which the file is refused unread.

    Raises:
        BadPicture: the file is missing, empty, zero-filled, truncated, too large, or no picture.
    """
    return decode_image(_bytes_of(path), path, report, max_pixels)


def decode_image(data: bytes, name: str | os.PathLike = "", report=None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """`read_image` for the bytes of a file; `name` is what errors and the report call it."""
    header = _header(data, name, max_pixels)
    if _is_cut(header, data):
        raise BadPicture(name, f"truncated {header.format}: its end marker is missing")
    # an MPO's further pictures are a camera's previews
    if report is not None and header.format != "MPO" and getattr(header, "is_animated", False):
        report.add("picture of several frames, the first used", str(name))
    if header.mode in ("I", "F") and (header.format, header.mode) not in _FAST:
        raise BadPicture(name, f"{header.format} of 32-bit numbers has no fixed range; save it with 8 or 16 bits")
    try:
        if (header.format, header.mode) in _FAST:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)  # applies EXIF itself
        else:
            image = _decode_by_pillow(header)
    except Exception as error:  # damaged bytes make decoders raise nearly anything
        raise BadPicture(name, f"broken {header.format}: {error}") from error
    if image is None:
        raise BadPicture(name, f"broken {header.format}: it cannot be decoded")
    return image


def _decode_by_pillow(header) -> np.ndarray:
    upright = ImageOps.exif_transpose(header)
    if upright.mode.startswith("I;16"):  # Pillow's own conversion to 8 bits clips
        grey = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    return np.array(upright.convert("RGB"))


def picture_size(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of the upright picture in a file, from its header alone.

    Raises:
        BadPicture: the file is missing, empty, too large, or no picture. A truncated one passes.
    """
    try:
        with open(path, "rb") as file:
            header = _header(file, path, max_pixels)
            width, height = header.size
            # of a TIFF Pillow gives the upright size; a PNG it would decode in search of EXIF behind the pixels
            turned = (
                "exif" in header.info
                and header.format != "TIFF"
                and header.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            )
            return (width, height) if turned else (height, width)
    except OSError as error:
        raise BadPicture(path, f"it cannot be read: {error.strerror or error}") from error


def read_mask(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The class numbers in a mask file: int32 (H, W), as stored; of a palette picture its indices.

    Any lossless single-channel picture of 1 to 16 bits, or RGB with three equal channels.

    Raises:
        BadPicture: as `read_image`.
        DataError: the file holds colours, or is compressed with loss: class numbers cannot be told.
    """
    return decode_mask(_bytes_of(path), path, max_pixels)


def decode_mask(data: bytes, name: str | os.PathLike = "", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """`read_mask` for the bytes of a file; `name` is what errors call it."""
    header = _header(data, name, max_pixels)
    if header.format in ("JPEG", "MPO"):
        raise DataError(
            f"mask {name}: expected a lossless picture such as PNG, got JPEG, which changes class numbers; "
            "save the masks anew from where they were drawn."
        )
    if _is_cut(header, data):
        raise BadPicture(name, f"truncated {header.format}: its end marker is missing")
    try:
        raw_mode = header.tile[0].args if header.tile else ""
        values = np.asarray(header)
    except Exception as error:  # as in decode_image
        raise BadPicture(name, f"broken {header.format}: {error}") from error
    if values.ndim == 3:
        colours = values[..., : 1 if header.mode == "LA" else 3]
        if (colours != colours[..., :1]).any():
            raise DataError(
                f"mask {name}: expected one class number a pixel (single-channel or palette PNG), got "
                f"{header.mode} colours; write each colour's class number instead (0, 1, 2, …; 255 = void)."
            )
        values = colours[..., 0]
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
        raise DataError(f"mask {name}: expected class numbers from 0 to 65535, got other {header.mode} values.")
    # Pillow stretches grey of 2 and 4 bits to 0..255; class numbers want it undone
    stretch = {"L;2": 85, "L;4": 17}.get(raw_mode if isinstance(raw_mode, str) else "", 1)
    return values.astype(np.int32) // stretch


def write_image(path: str | os.PathLike, image: np.ndarray):
    """Write uint8 (H, W, 3) RGB, or (H, W), in the format that the suffix names; any path, of any characters.

    Raises:
        ValueError: no writer for this suffix.
    """
    path = Path(path)
    if image.ndim == 3:
        image = np.ascontiguousarray(image[..., ::-1])
    try:
        _, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise ValueError(f"path: expected a suffix such as .png or .jpg, got {path.suffix!r} in {path}.") from error
    path.write_bytes(data)


def list_pictures(root: str | os.PathLike, recursive: bool = True) -> list[Path]:
    """The picture files below `root`, in a stable order: by path, folder names compared part by part.

    Known by suffix in any case. Names that start with a dot (`.DS_Store`, `._x.jpg`, `.ipynb_checkpoints`) are passed
    over, files and folders alike, and so are folders of results (`layout.RESULTS`).
    """
    found = []
    for folder, folders, files in os.walk(root, followlinks=True):
        if RESULTS in files:
            folders[:] = []
            continue
        folders[:] = [f for f in folders if not f.startswith(".")] if recursive else []
        found += [Path(folder, f) for f in files if is_picture_name(f)]
    return sorted(found)


def is_picture_name(name: str) -> bool:
    """Whether a file of this name is taken for a picture."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def inside(root: Path, name: str) -> Path:
    """`root`/`name`, for a name out of a table or an annotation file.

    Raises:
        DataError: it leads out of `root`, by "..", an absolute path or a symbolic link.
    """
    path = Path(root, name)
    try:
        within = path.resolve().is_relative_to(Path(root).resolve())
    except (ValueError, OSError, RuntimeError) as error:  # a null character, a circle of links
        raise DataError(f"{name!r}: expected the name of a file, got one that cannot be followed: {error}.") from error
    if not within:
        raise DataError(
            f"{name}: expected a file below {root}, but it lies outside; set root= to a folder that holds it."
        )
    return path


def _bytes_of(path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadPicture(path, f"it cannot be read: {error.strerror or error}") from error


def _header(data, name, max_pixels) -> Image.Image:
    """The picture as Pillow opens it: header read, nothing decoded. `data` is bytes or an open file."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        # Pillow's own limit is one number for the whole process, and lower than ours
        with _PILLOW_LIMIT:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                header = Image.open(file, formats=_FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        file.seek(0)
        raise BadPicture(name, _what_is_wrong(file.read(64))) from None
    except Exception as error:  # as in decode_image
        raise BadPicture(name, f"broken header: {error}") from error
    width, height = header.size
    if width * height > max_pixels:
        raise BadPicture(name, f"{width} x {height} pixels, more than the limit of {max_pixels}")
    return header


def _what_is_wrong(start: bytes) -> str:
    if not start:
        return "empty file"
    if not any(start):
        return "file filled with zeros"
    if start[4:8] == b"ftyp":
        return "HEIC or AVIF, which is not read here; convert it to JPEG or PNG"
    return f"no picture of a known kind ({', '.join(_FORMATS)}); it starts with {start[:8]!r}"


def _is_cut(header, data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end marker: decoders differ in whether they tell, or fill the rest with grey."""
    if header.format == "MPO":  # Pillow has gone back to the start of it
        header = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if header.format == "JPEG":
        # Pillow stands behind the tables, and so behind an embedded thumbnail with an end marker of its own
        return data.rfind(b"\xff\xd9", header.fp.tell()) < 0
    return header.format == "PNG" and data.rfind(b"IEND") < 0
