"""Files that are there whole or not at all, whatever ends the process or the machine."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from visiontasks.errors import UserError

_PREFIX = ".writing-"  # of a file that is not whole yet


def replace_atomically(path: Path, write: Callable[[Path], object], argument: str | None = None):
    """Call `write(temporary path)`, then rename that file to `path`, so that `path` is never half-written.

    The content is on the disk before the name is, and the name when this returns: a power failure loses neither the old
    file nor, afterwards, the new one.

    Args:
        path: the file.
        write: writes the content to a path with the same suffix.
        argument: what chose the folder, for the error.

    Raises:
        UserError: the disk is full or not writable; an existing file is unchanged.
    """
    temporary = path.with_name(_PREFIX + path.name)
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. Free the disk, or give another folder.", argument
        ) from error
    _sync_folder(path.parent)


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


def unfinished(folder: Path) -> list[Path]:
    """What a process that was killed had begun to write in a folder and those below, or one writes just now."""
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
