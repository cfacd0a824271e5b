"""One scale for the 16-bit images of a data set: how many of their bits hold values, such as a camera's 12."""

import os
from collections.abc import Iterable, Iterator, Sequence

from visiontasks.data.deep import BITS, decode_deep, is_deep, needed_bits
from visiontasks.data.images import MAX_PIXELS, bytes_of, header_of, large_alone
from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Files, Source
from visiontasks.errors import BadImage

HEADERS, FILES = 300, 100  # files of which the header is read, and of these the values
_SUFFIXES = (".png", ".tif", ".tiff", ".pgm", ".ppm", ".pnm")


def settle_bits(sources: Sequence[Source], bits: int | None = None) -> int | None:
    """Give sources one `bits`, and return it.

    Args:
        sources: of one data set.
        bits: if known; else that of a source that has it, else what the files need. None is returned where no file of
            16 bits was found.
    """
    files = [one for source in sources for one in _whole(source)]
    if bits is None:
        bits = max((one.bits for one in files if one.bits is not None), default=None)
    if bits is None:
        paths = [one.describe(n) for one in files if isinstance(one, Files) for n in range(len(one))]
        bits = find_bits(paths, sources[0].report)
    for one in files:
        one.bits = bits
    return bits


def find_bits(paths: Iterable, report=None) -> int | None:
    """How many bits the values of some 16-bit files need; None if there is none among those looked at.

    Of many files, some are looked at, evenly spread.

    Args:
        paths: files of any kind; only those with a suffix of a format of 16 bits are looked at.
        report: gets what was found, unless it is the whole range.
    """
    paths = _spread([path for path in map(str, paths) if path.lower().endswith(_SUFFIXES)], HEADERS)
    deep = [path for path, is_one in zip(paths, scan(is_deep_file, paths, "Checking images"), strict=True) if is_one]
    deep = _spread(deep, FILES)
    needed = dict(zip(deep, scan(bits_of_file, deep, "Looking for the brightest pixel"), strict=True))
    bits = max((one for one in needed.values() if one is not None), default=None)
    if report is not None and bits not in (None, BITS):
        factor = f"divided by {2 ** (bits - 8)}" if bits >= 8 else f"multiplied by {2 ** (8 - bits)}"
        for path in deep:
            report.noted(f"16-bit image looked at: the set fills {bits} bits, so all are {factor} (bits)", path)
    return bits


def is_deep_file(path: str | os.PathLike) -> bool:
    """Whether an image file has 16 bits a channel, by its header; False of one that cannot be read."""
    try:
        with open(path, "rb") as file:
            return is_deep(header_of(file, path, MAX_PIXELS))
    except (OSError, BadImage):
        return False


def bits_of_file(path: str | os.PathLike) -> int | None:
    """How many bits the largest value of a 16-bit image file needs; None of one that cannot be read."""
    try:
        data = bytes_of(path)
        header = header_of(data, path, MAX_PIXELS)
        with large_alone(header):
            return needed_bits(decode_deep(data, header))
    except Exception:  # as in decode_image; reading it again will say what is wrong
        return None


def bits_of(source: Source) -> int | None:
    """The `bits` that `settle_bits` has given a source."""
    return max((one.bits for one in _whole(source) if one.bits is not None), default=None)


def _whole(source: Source) -> Iterator[Source]:
    """The sources that read files, behind one that takes its samples from others."""
    inner = getattr(source, "sources", None) or ([source.source] if hasattr(source, "source") else [])
    for one in inner:
        yield from _whole(one)
    if not inner:
        yield source


def _spread(paths: list[str], most: int) -> list[str]:
    return paths if len(paths) <= most else [paths[n * len(paths) // most] for n in range(most)]
