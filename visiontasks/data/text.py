"""Reads the text files that come with data, such as lists of classes or of images, in the encodings of all tools."""

import codecs
import errno
import os
import stat
from pathlib import Path

from visiontasks.errors import DataError


def read_text(path: Path, what: str, argument: str | None = None) -> str:
    """The text of a file in UTF-8 or UTF-16.

    Args:
        path: the file.
        what: is expected, such as "a list of images", for errors.
        argument: that gave the path, for errors.

    Raises:
        DataError: it cannot be read, or has another encoding.
    """
    try:
        return decode(content_of(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected {what} in UTF-8 or UTF-16, got {path}: {error}.", argument) from error


def content_of(path: str | os.PathLike) -> bytes:
    """The bytes of a regular file: to read a pipe waits without end, and /dev/zero has no end.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return Path(path).read_bytes()


def read_lines(path: Path, what: str, argument: str | None = None) -> list[str]:
    """The lines of a file that are not empty, without white space around them; arguments and errors as `read_text`."""
    return [stripped for line in read_text(path, what, argument).splitlines() if (stripped := line.strip())]


def decode(data: bytes) -> str:
    """The text of UTF-8 or UTF-16, with a byte order mark or, if UTF-16 begins with a Latin letter, without.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    return data.decode(_encoding(data))


def in_utf8(data: bytes) -> bytes:
    """Text for `decode`, or its beginning, in UTF-8 without a byte order mark, so that bytes can be looked for."""
    encoding = _encoding(data)
    if encoding == "utf-8-sig":
        return data.removeprefix(codecs.BOM_UTF8)
    return data.decode(encoding, "ignore").encode()  # a last character may be cut


def _encoding(data: bytes) -> str:
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if 0 in data[:2]:  # of a first character in Latin-1
        return "utf-16-be" if data[0] == 0 else "utf-16-le"
    return "utf-8-sig"
