"""Looks at a `.keras` file without Keras: whether it is whole, how large it unpacks, which model and arrays it holds.

Nothing in it is run or unpacked to the disk.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from visiontasks.weights.h5_file import arrays_of

WEIGHTS = "model.weights.h5"
MEMBERS = ("config.json", "metadata.json", WEIGHTS)
# a model is saved without compression, and weights hardly compress: what unpacks to more is made to fill a memory
MOST_TIMES, ALWAYS = 4, 2**26  # of the file's own size; so many bytes pass in any case
CONFIG = 2**25  # bytes of a description


def check_keras_file(path: str | Path) -> dict:
    """The description of the model in a `.keras` file: {"class_name", "config", …}, if the file is whole.

    Whole is a zip archive with the members that Keras writes, whose checksums are right, which unpacks to about its own
    size, and nowhere else than where it is told to.

    Raises:
        ValueError: what is wrong with it, and what to do where it may be right.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            _check_members(archive.infolist(), size)
            if damaged := archive.testzip():
                raise ValueError(f"it is damaged: the checksum of {damaged} does not match")
            config = json.loads(archive.read("config.json"))
            with archive.open(WEIGHTS) as file:
                if file.read(4) != b"\x89HDF":
                    raise ValueError(f"{WEIGHTS} in it is no HDF5 file")
    except ValueError as error:
        raise ValueError(
            f"{error}" if not isinstance(error, json.JSONDecodeError) else f"config.json: {error}"
        ) from error
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror or error})") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises half a dozen kinds for a damaged file; a nested text RecursionError
        what = "it is empty" if path.is_file() and not size else f"it is no .keras file, or a damaged one ({error})"
        raise ValueError(what) from error
    if not isinstance(config, dict):
        raise ValueError("config.json in it describes no model")
    return config


def reason(error: Exception) -> str:
    """Why Keras did not load a file: what it says, unless that is how to run the code in it all the same."""
    return "it has code in it, which is not run" if "code execution" in str(error) else str(error).rstrip(".")


def _check_members(members: list[zipfile.ZipInfo], size: int):
    names = [member.filename for member in members]
    if missing := [name for name in MEMBERS if name not in names]:
        raise ValueError(f"it has no {', '.join(missing)}: it is another kind of archive")
    if len(set(names)) < len(names):
        raise ValueError("it has members of one name")
    if out := next(filter(_leads_out, names), None):
        raise ValueError(f"its member {out!r} would be unpacked elsewhere")
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(ALWAYS, MOST_TIMES * size):
        raise ValueError(
            f"it unpacks to {unpacked:,} bytes, more than {MOST_TIMES} times its own {size:,}; a model is saved "
            "without compression. If you trust it, unpack it and zip it again without compression (zip -0)"
        )
    if next(member for member in members if member.filename == "config.json").file_size > CONFIG:
        raise ValueError(f"its config.json has more than {CONFIG:,} bytes")


def _leads_out(name: str) -> bool:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return posix.is_absolute() or bool(windows.drive or windows.root) or ".." in (*posix.parts, *windows.parts)


def arrays(path: str | Path) -> Iterator[tuple[str, object]]:
    """(name, HDF5 data set) of each array in a `.keras` file that `check_keras_file` has passed; open while iterating.

    Raises:
        ValueError: the arrays are damaged, linked, compressed, or more than the file holds.
    """
    import h5py

    with zipfile.ZipFile(path) as archive:
        content = archive.read(WEIGHTS)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            yield from arrays_of(file, len(content))
    except MemoryError:
        raise
    except Exception as error:  # h5py raises a dozen kinds for a damaged file
        raise ValueError(f"{WEIGHTS} in it is damaged ({error})") from error
