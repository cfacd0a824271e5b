"""Files that are there whole or not at all, whatever ends the process or the machine."""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from visiontasks.errors import UserError

LONGEST = 255  # bytes of a file's name, on nearly every file system
_PREFIX = ".writing-"  # of a file that is not whole yet
# whose it is: the machine, the process's number and its start; then what tells its files apart
_OWNER = re.compile(re.escape(_PREFIX) + r"([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}-")
_STALE_SECONDS = 3600.0  # a file of another machine that nothing was written to for so long belongs to no process


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
            finish(temporary, path, durable)
        except BaseException:
            discard(temporary)
            raise


def write_text(path: Path, text: str, argument: str | None = None, encoding: str = "utf-8", errors: str = "strict"):
    """Write a text file as `replace_atomically` does."""
    content = text.encode(encoding, errors)  # before the file is opened: a character may have no code
    write_bytes(path, content, argument)


def write_bytes(path: Path, content: bytes, argument: str | None = None, durable: bool = True):
    """Write a binary file as `replace_atomically` does."""
    replace_atomically(path, lambda temporary: temporary.write_bytes(content), argument, durable)


def temporary_of(path: Path) -> Path:
    """Where a file is written until `finish`: a hidden name with the same suffix in the same folder.

    Each call gives another one: of processes that write one file each writes its own, and the last to finish wins.
    """
    owner = f"{_PREFIX}{_machine()}-{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(4)}-"
    name = owner + path.name
    if len(os.fsencode(name)) > LONGEST:
        name = f"{owner}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}{path.suffix}"
    return path.with_name(name)


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` within the block, which `remove_unfinished` removes if the process is killed."""
    folder = temporary_of(path)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finish(temporary: Path, path: Path, durable: bool = True):
    """Rename the whole content at a path of `temporary_of(path)` to `path`."""
    if durable:
        _sync(temporary)
    os.replace(temporary, path)
    if durable:
        _sync_folder(path.parent)


def discard(temporary: Path):
    """Remove what is at a path of `temporary_of`; the file that it was to replace stays."""
    with contextlib.suppress(OSError):
        temporary.unlink()


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


def is_live(path: Path) -> bool:
    """Whether an unfinished file belongs to a process that still lives.

    Whether one of another machine or container lives, nobody can see from here: its file counts as live until nothing
    was written to it for an hour.
    """
    owner = _OWNER.match(path.name)
    if owner is None:  # of an older version
        return False
    if os.name != "nt" and owner[1] == _machine():
        return _started(int(owner[2])) == int(owner[3]) and _lives(int(owner[2]))
    try:
        return time.time() - path.stat().st_mtime < _STALE_SECONDS
    except OSError:  # it is whole by now
        return False


def unfinished(folder: Path) -> list[Path]:
    """The files and folders of a folder, and of those below, that are unfinished."""
    return sorted(folder.rglob(_PREFIX + "*"))


def remove_unfinished(folder: Path):
    """Remove what processes that were killed had begun to write in a folder and those below."""
    for path in unfinished(folder):
        if is_live(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            discard(path)


def _machine() -> str:
    """Eight digits that tell machines apart, and on Linux containers, whose processes have numbers of their own."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _started(process: int) -> int:
    """When a process of this machine started, as Linux counts; -1 if it has ended, 0 where that is not known.

    The number of a process that has ended is given to another one.
    """
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold anything
        return -1 if state in "ZX" else int(fields[18])  # one that its parent has not asked about yet is listed still
    except (OSError, ValueError, IndexError):
        return 0


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:  # of another user
        return True
    except (OSError, OverflowError):
        return False
    return True


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
