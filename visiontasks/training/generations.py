"""`Generations`: states of a training, a file each, of which the newest one that is whole counts."""

import contextlib
import hashlib
import json
import math
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from visiontasks.errors import UserError
from visiontasks.writing import make_folder, replace_atomically

_MAGIC = b"visiontasks state 1\n"
_DIGEST = hashlib.sha256().digest_size


class Generations:
    """Numbered files in a folder; each has values as JSON, arrays, and a checksum of its whole content.

    A file is written under another name, synced and renamed, and an older one is removed only then: whatever happens
    while one is written, the one before is whole. So a process or a machine may end at any moment.

    Layout of a file: a line with the format's name, a line of JSON ({"values", "arrays": [[dtype, shape], …]}),
    the arrays' bytes in that order (row by row, little-endian), SHA-256 of all before it.

    Args:
        folder: made as soon as something is written.
        keep: how many files stay.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = Path(folder), keep

    @property
    def files(self) -> list[Path]:
        """The files, newest first."""
        found = [path for path in self.folder.glob("*.state") if path.stem.isdecimal()]
        return sorted(found, key=lambda path: int(path.stem), reverse=True)

    def write(self, values: dict, arrays: list[np.ndarray]) -> Path:
        """Add a generation; returns its file.

        Raises:
            UserError: the disk is full or not writable; the files that are there are unchanged.
        """
        make_folder(self.folder, "dir")
        before = self.files
        path = self.folder / f"{int(before[0].stem) + 1 if before else 1}.state"
        replace_atomically(path, lambda temporary: _write(temporary, values, arrays), "dir")
        self.prune()
        return path

    def prune(self, keep: int | None = None):
        """Remove all files but the newest `keep`; by default as many as stay anyway."""
        for path in self.files[self.keep if keep is None else keep :]:
            with contextlib.suppress(OSError):  # one that another program has open stays
                path.unlink()

    def read(self) -> tuple[dict, list[np.ndarray]] | None:
        """(values, arrays) of the newest file that is whole and finite, with a warning of others; None without a file.

        Raises:
            UserError: there are files, but none is whole and finite.
        """
        damaged = []
        for path in self.files:
            try:
                found = read(path)
                if not all_finite(found[1]):
                    raise ValueError(f"{path} holds NaN or infinity")
            except ValueError as error:
                damaged.append(str(error))
                continue
            if damaged:
                warnings.warn(f"{'; '.join(damaged)}; {path.name} is used instead", stacklevel=2)
            return found
        if damaged:
            raise UserError(f"no saved state can be read, so training cannot resume: {'; '.join(damaged)}.", "resume")
        return None


def all_finite(arrays: Iterable[np.ndarray]) -> bool:
    """Whether no array holds NaN or infinity."""
    return all(np.isfinite(array).all() for array in arrays)


def _write(path, values, arrays):
    rows = [[array.dtype.name, array.shape] for array in arrays]
    header = json.dumps({"values": values, "arrays": rows}, ensure_ascii=True).encode() + b"\n"
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for part in (_MAGIC, header, *map(_bytes, arrays)):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())


def _bytes(array):
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def read(path: Path) -> tuple[dict, list[np.ndarray]]:
    """(values, arrays) of one file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    whole = memoryview(content)[:-_DIGEST]
    if hashlib.sha256(whole).digest() != content[-_DIGEST:]:
        raise ValueError(f"{path} is damaged: its checksum does not match")
    if not content.startswith(_MAGIC):
        raise ValueError(f"{path} is of another version's format")
    start = content.index(b"\n", len(_MAGIC)) + 1
    header, arrays = json.loads(content[len(_MAGIC) : start]), []
    for kind, shape in header["arrays"]:
        arrays.append(np.frombuffer(whole, kind, math.prod(shape), start).reshape(shape))
        start += arrays[-1].nbytes
    return header["values"], arrays
