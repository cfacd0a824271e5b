"""The image formats: which files are images by their names, and which Pillow can decode here by their bytes."""

import functools
import os
from pathlib import Path

from PIL import features

_PHONES = (".heic", ".heif", ".hif", ".avif")
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    *_PHONES,
}
# images in formats that are not read: a folder's source counts them
UNREAD = {
    *(".psd", ".svg", ".eps", ".xcf", ".tga", ".pcx", ".ico", ".exr", ".hdr", ".jp2", ".j2k", ".jpx", ".jxl", ".jxr"),
    *(".heics", ".heifs", ".avifs", ".dcm", ".dicom", ".nii", ".fits", ".svs", ".ndpi", ".czi", ".nd2", ".lif"),
    *(".raw", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
}

# naming the formats keeps Pillow from trying those that start other programs (EPS)
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"}  # of files that begin as HEIC does
_NEEDS = {"AVIF": ("AVIF", "Pillow 11.3 or later"), "HEIF": ("HEIC", "pillow-heif, pip install 'visiontasks[heif]'")}


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def is_unread_name(name: str) -> bool:
    """Whether a file of this name is an image in a format that is not read."""
    return not name.startswith(".") and os.path.splitext(name.removesuffix(".gz"))[1].lower() in UNREAD


def lacks_decoder(path: Path) -> str | None:
    """Why a file of a phone's format cannot be read here, whatever it holds; None if it can, or is another's."""
    if path.suffix.lower() not in _PHONES:
        return None
    try:
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:
        return None
    kind = _phone_format(start)
    return None if kind is None or kind in readable_formats() else what_is_wrong(start)


def begins_as_image(path: Path) -> bool:
    """Whether a file, which has no suffix, begins as a JPEG, PNG, GIF, TIFF or DICOM does."""
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start.startswith(_STARTS) or start[128:] == b"DICM"


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that can be read here."""
    more = ["AVIF"] if features.check("avif") else []
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return (*_FORMATS, *more)
    register_heif_opener()
    return (*_FORMATS, *more, "HEIF")


def _phone_format(start: bytes) -> str | None:
    return _BRANDS.get(start[8:12], "HEIF") if start[4:8] == b"ftyp" else None


def what_is_wrong(start: bytes) -> str:
    """Why a file that Pillow does not know cannot be read, by its first bytes, 12 or more."""
    if not start:
        return "empty file"
    if not any(start):
        return "file filled with zeros"
    if kind := _phone_format(start):
        name, needs = _NEEDS[kind]
        return (
            f"broken {name}" if kind in readable_formats() else f"{name}, which needs {needs} (or convert it to JPEG)"
        )
    return f"not an image of a known format ({', '.join(_FORMATS)}); it starts with {start[:8]!r}"
