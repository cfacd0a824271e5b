"""Reads and lists images. The bytes decide the format, not the file name; broken files are detected."""

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from visiontasks.data.deep import BITS, decode_deep, is_deep, needed_bits, to_bytes
from visiontasks.data.formats import (
    begins_as_image,
    is_image_name,
    is_unread_name,
    lacks_decoder,
    readable_formats,
    what_is_wrong,
)
from visiontasks.data.layout import RESULTS
from visiontasks.data.text import content_of
from visiontasks.errors import BadImage, DataError
from visiontasks.writing import write_bytes

MAX_PIXELS = 2**27  # 16384 x 8192: 0.4 GB as RGB; a larger header counts as a decompression bomb
_LARGE = 2**25  # pixels of an image beside which no thread decodes another one
# what OpenCV decodes to the same 8-bit RGB as Pillow, only faster; of 16 bits it takes the high byte
_FAST = {
    (kind, mode)
    for kind in ("JPEG", "MPO", "PNG", "WEBP", "BMP")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
} | {("PPM", mode) for mode in ("1", "L", "RGB", "I")}
# JPEG decoders skip work for these fractions of the size
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_EXIF_ORIENTATION = 0x0112
_PILLOW_LIMIT, _ONE_LARGE = threading.Lock(), threading.Lock()


def read_image(
    path: str | os.PathLike, report=None, max_pixels: int = MAX_PIXELS, bits: int | None = None
) -> np.ndarray:
    """Read an image file: uint8 (H, W, 3), RGB, upright (EXIF orientation applied).

    The bytes decide the format, not the suffix. Gray, palette and CMYK become RGB. 16 bits are divided by 256 or as
    `bits` says, never clipped. Alpha is dropped, so that the colors of transparent pixels show. Of an animation, the
    first frame is read. AVIF is read where Pillow has a decoder, HEIC where pillow-heif is installed.

    Args:
        path: any path, with any characters.
        report: a `visiontasks.data.report.Report`, gets what was corrected or left out.
        max_pixels: a file with more pixels (height times width) is refused without decoding it.
        bits: of a file of 16 bits, how many hold values, from 1 to 16, such as 12 of a camera's: the values are divided
            by 2 ** (bits - 8). None: 16.

    Raises:
        BadImage: the file is missing, empty, filled with zeros, truncated, too large, not an image, or one with values
            of more than `bits`.
    """
    return decode_image(bytes_of(path), path, report, max_pixels, bits)


def decode_image(
    data: bytes,
    name: str | os.PathLike = "",
    report=None,
    max_pixels: int = MAX_PIXELS,
    bits: int | None = None,
) -> np.ndarray:
    """`read_image` for the bytes of a file; errors and the report call it `name`."""
    header = header_of(data, name, max_pixels)
    with damage(header, name):
        _check_whole(header, data, name)
        # the other images of an MPO are a camera's previews
        if report is not None and header.format != "MPO" and getattr(header, "is_animated", False):
            report.skipped("image of several frames, only the first is used", str(name))
        if header.mode in ("I", "F") and (header.format, header.mode) not in _FAST:
            raise BadImage(
                name, f"{header.format} of signed or 32-bit numbers has no fixed range; save it with 8 or 16 bits"
            )
        deep = is_deep(header)
        if deep and report is not None and bits is None:
            report.noted("16-bit image, divided by 256", str(name))
        with large_alone(header):
            image = _decoded(data, header, name, bits if deep else None)
        if image is None:
            raise ValueError("it cannot be decoded")
    return image


def _check_whole(header, data, name):
    if is_cut(header, data):
        raise BadImage(name, f"truncated {header.format}: its end marker is missing")


def _decoded(data, header, name, bits):
    if bits not in (None, BITS):
        return _of_bits(decode_deep(data, header), bits, name)
    if (header.format, header.mode) in _FAST and not _scales_itself(header):
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)  # applies EXIF itself
    return _decode_by_pillow(header)


def _of_bits(values, bits, name):
    if (needed := needed_bits(values)) > bits:
        raise BadImage(
            name,
            f"16-bit image with values up to {values.max()}, beyond the {bits} bits of its set (bits={needed})",
        )
    return to_bytes(values, bits)


def _scales_itself(header) -> bool:
    """Whether the file says the highest value, as a PGM does, which OpenCV ignores."""
    codec, *_, arguments = header.tile[0] if header.tile else ("", "")
    return codec in ("ppm", "ppm_plain") and isinstance(arguments, tuple) and arguments[1] not in (255, 65535)


def _decode_by_pillow(header) -> np.ndarray:
    upright = ImageOps.exif_transpose(header)
    if upright.mode.startswith("I"):  # Pillow's own conversion to 8 bits clips
        gray = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.stack([gray] * 3, axis=-1)
    return np.array(upright.convert("RGB"))


def image_size(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of the upright image in a file, from its header alone.

    Raises:
        BadImage: the file is missing, empty, too large, or not an image. A truncated file passes.
    """
    try:
        if not os.path.isfile(path):
            content_of(path)  # raises what is wrong
        with open(path, "rb") as file:
            return _upright_size(header_of(file, path, max_pixels), path)
    except OSError as error:
        raise BadImage(path, f"it cannot be read: {error.strerror or error}") from error


def decode_small(
    data: bytes,
    name: str | os.PathLike = "",
    least: int = 64,
    report=None,
    max_pixels: int = MAX_PIXELS,
    bits: int | None = None,
) -> tuple[np.ndarray, tuple[int, int]]:
    """(`decode_image` of a whole fraction of the size, (height, width) of the whole image); a JPEG takes little time.

    Args:
        least: pixels that the smaller of width and height keeps, where the image has them.
        data, name, report, max_pixels, bits: as for `decode_image`, whose errors it raises.
    """
    header = header_of(data, name, max_pixels)
    size = _upright_size(header, name)
    fraction = next((n for n in _REDUCED if min(size) >= n * least), None)
    if header.format not in ("JPEG", "MPO") or (header.format, header.mode) not in _FAST or fraction is None:
        image, fraction = decode_image(data, name, report, max_pixels, bits), min(size) // least
        if fraction > 1:
            image = cv2.resize(image, (size[1] // fraction, size[0] // fraction), interpolation=cv2.INTER_AREA)
        return image, size
    with damage(header, name):
        _check_whole(header, data, name)
        with large_alone(header):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[fraction])
        if image is None:
            raise ValueError("it cannot be decoded")
    return np.ascontiguousarray(image[..., ::-1]), size


def _upright_size(header, name) -> tuple[int, int]:
    """(height, width) after the EXIF orientation."""
    width, height = header.size
    # Pillow gives the upright size of a TIFF; of a PNG it would decode the pixels to look for EXIF after them
    with damage(header, name):
        exif = "exif" in header.info and header.format != "TIFF"
        turned = exif and header.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def write_image(path: str | os.PathLike, image: np.ndarray, argument: str | None = None):
    """Write uint8 (H, W, 3) RGB, or (H, W), in the format of the path's suffix; any path, with any characters.

    Raises:
        ValueError: the suffix has no writer.
        UserError: the file cannot be written, and is as it was; names `argument`, what chose the folder.
    """
    path = Path(path)
    if image.ndim == 3:
        image = np.ascontiguousarray(image[..., ::-1])
    try:
        _, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise ValueError(f"path: expected a suffix such as .png or .jpg, got {path.suffix!r} in {path}.") from error
    write_bytes(path, bytes(data), argument, durable=False)


def list_images(root: str | os.PathLike, recursive: bool = True, report=None) -> list[Path]:
    """The image files in `root`, in a stable order: by path, compared folder by folder.

    Image files are recognized by suffix, in any case; of what `files_below` lists. The report gets the files of image
    formats that are not read, images without a suffix, pipes and devices, and of those listed the HEIC and AVIF that
    cannot be read here.
    """
    images = []
    for folder, names in files_below(root, recursive, report):
        images += [folder / name for name in names if is_image_name(name)]
        for name in names if report is not None else ():
            if is_unread_name(name):
                kind = os.path.splitext(name)[1].lower()
                what = f"{kind} file, a format that is not read, skipped; convert it to PNG or JPEG"
                report.skipped(what, str(folder / name))
            elif reason := lacks_decoder(folder / name):
                report.skipped(f"{reason}, skipped", str(folder / name))
            elif not os.path.splitext(name)[1] and begins_as_image(folder / name):
                report.skipped("image without a suffix, skipped; add its own, such as .png", str(folder / name))
    return sorted(images)


def files_below(root: str | os.PathLike, recursive: bool = True, report=None) -> Iterator[tuple[Path, list[str]]]:
    """(folder, the names of its files) of `root` and the folders below.

    Links are followed, each real folder once. Files and folders whose names start with a dot (`.DS_Store`, `._x.jpg`,
    `.ipynb_checkpoints`) are skipped, and so are folders of results (`layout.RESULTS`) and what is no regular file,
    of which the report gets those that are named as images.
    """
    seen, folders = set(), [Path(root)]
    while folders:
        folder = folders.pop()
        try:
            status = os.stat(folder)
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:  # a folder that may not be read
            continue
        if (status.st_dev, status.st_ino) in seen or any(entry.name == RESULTS for entry in entries):
            continue
        seen.add((status.st_dev, status.st_ino))
        entries = [entry for entry in entries if not entry.name.startswith(".")]
        files = [entry.name for entry in entries if _is(entry.is_file) or _leads_nowhere(entry)]
        below = [entry.name for entry in entries if _is(entry.is_dir)]
        if report is not None and len(files) + len(below) < len(entries):
            for name in filter(is_image_name, {entry.name for entry in entries}.difference(files, below)):
                report.skipped("pipe, device or socket with an image's name, skipped", str(folder / name))
        yield folder, files
        if recursive:
            folders += [folder / name for name in reversed(below)]


def _is(kind) -> bool:
    try:
        return kind()
    except OSError:  # a link to itself
        return False


def _leads_nowhere(entry) -> bool:
    """Whether it is a link to what does not exist: a file that is missing, and counted as one."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def bytes_of(path) -> bytes:
    """The content of a file; one that cannot be read is a BadImage."""
    try:
        return content_of(path)
    except OSError as error:
        raise BadImage(path, f"it cannot be read: {error.strerror or error}") from error


def header_of(data, name, max_pixels) -> Image.Image:
    """The image as Pillow opens it: header read, nothing decoded. `data` is bytes or an open file."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        # Pillow's own limit is one number for the whole process, and lower than this package's
        with _PILLOW_LIMIT:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                header = Image.open(file, formats=readable_formats())
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except UnidentifiedImageError:
        file.seek(0)
        raise BadImage(name, what_is_wrong(file.read(64))) from None
    except Exception as error:  # as in `damage`
        raise BadImage(name, f"broken header: {error}") from error
    width, height = header.size
    if width * height > max_pixels:
        raise BadImage(name, f"{width} x {height} pixels, more than the limit of {max_pixels}")
    return header


@contextlib.contextmanager
def damage(header: Image.Image, name: str | os.PathLike):
    """Raise what damaged bytes make a decoder raise within this block, which is of many types, as a BadImage."""
    try:
        yield
    except (BadImage, DataError, MemoryError):
        raise
    except Exception as error:
        if getattr(error, "code", None) == cv2.Error.StsNoMem:
            raise MemoryError(f"{name}: {header.size[0]} x {header.size[1]} pixels") from error
        raise BadImage(name, f"broken {header.format}: {error}") from error


@contextlib.contextmanager
def large_alone(header: Image.Image):
    """Decode an image within this block: of large ones one at a time, however many threads read.

    A few kilobytes of a file can hold as many pixels as `max_pixels` allows.
    """
    width, height = header.size
    with _ONE_LARGE if width * height > _LARGE else contextlib.nullcontext():
        yield


def is_cut(header, data: bytes) -> bool:
    """Whether a JPEG or PNG has no end marker. Some decoders do not report it and fill the rest with gray."""
    if header.format == "MPO":  # Pillow has moved back to its start
        header = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if header.format == "JPEG":
        # Pillow stands after the tables, so after an embedded thumbnail, which has its own end marker
        return data.rfind(b"\xff\xd9", header.fp.tell()) < 0
    return header.format == "PNG" and data.rfind(b"IEND") < 0
