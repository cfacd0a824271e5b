"""Files that are there whole or not at all, whatever ends the process or the machine."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from visiontasks.errors import UserError

LONGEST = 255  # bytes of a file's name, on nearly every file system
_PREFIX = ".writing-"  # of a file that is not whole yet


def replace_atomically(path: Path, write: Callable[[Path], object], argument: str | None = None, durable: bool = True):
    """Call `write(temporary path)`, then rename that file to `path`, so that `path` is never half-written.

    The content is on the disk before the name is, and the name when this returns: a power failure loses neither the old
    file nor, afterwards, the new one.

    Args:
        path: the file.
        write: writes the content to a path with the same suffix.
        argument: what chose the folder, for the error.
        durable: whether to wait for the disk. Without it a power failure, but no end of the process, may lose the file:
            for what is computed again in no time, such as drawings by the thousand.

    Raises:
        UserError: the disk is full or not writable; an existing file is unchanged.
    """
    with naming(path, argument):
        temporary = temporary_of(path)
        try:
            write(temporary)
            finish(path, durable)
        except BaseException:
            discard(path)
            raise


def write_text(path: Path, text: str, argument: str | None = None, encoding: str = "utf-8", errors: str = "strict"):
    """Write a text file as `replace_atomically` does."""
    content = text.encode(encoding, errors)  # before the file is opened: a character may have no code
    write_bytes(path, content, argument)


def write_bytes(path: Path, content: bytes, argument: str | None = None, durable: bool = True):
    """Write a binary file as `replace_atomically` does."""
    replace_atomically(path, lambda temporary: temporary.write_bytes(content), argument, durable)


def temporary_of(path: Path) -> Path:
    """Where a file is written until `finish`: a hidden name with the same suffix in the same folder."""
    name = _PREFIX + path.name
    if len(os.fsencode(name)) > LONGEST:
        name = f"{_PREFIX}{hashlib.sha256(os.fsencode(path.name)).hexdigest()}{path.suffix}"
    return path.with_name(name)


def finish(path: Path, durable: bool = True):
    """Rename the whole content at `temporary_of(path)` to `path`."""
    temporary = temporary_of(path)
    if durable:
        _sync(temporary)
    os.replace(temporary, path)
    if durable:
        _sync_folder(path.parent)


def discard(path: Path):
    """Remove what is at `temporary_of(path)`; the file at `path` stays."""
    with contextlib.suppress(OSError):
        temporary_of(path).unlink()


@contextlib.contextmanager
def naming(path: Path, argument: str | None = None) -> Iterator[None]:
    """Turn an OSError of this block, which writes a file, into a UserError that names it and `argument`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. Free the disk, or give another folder.", argument
        ) from error


def make_folder(path: Path, argument: str | None = None):
    """Make a folder, if it is not there, that a power failure does not take away again.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {path}: {error.strerror}. Give another folder.", argument) from error
    _sync_folder(path.parent)


def is_unfinished(path: Path) -> bool:
    """Whether a file was being written when a process was killed, or is just now."""
    return path.name.startswith(_PREFIX)


def unfinished(folder: Path) -> list[Path]:
    """The files of a folder, and of those below, that are unfinished."""
    return sorted(folder.rglob(_PREFIX + "*"))


def remove_unfinished(folder: Path):
    """Remove what a process that was killed had begun to write in a folder and those below."""
    for path in unfinished(folder):
        with contextlib.suppress(OSError):
            path.unlink()


def _sync(path):
    """Wait until a file's content is on the disk."""
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path):
    """Wait until a folder's list of files is on the disk; Windows and some network disks have no such call."""
    with contextlib.suppress(OSError):
        _sync(path)
