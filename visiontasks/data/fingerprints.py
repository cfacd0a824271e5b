"""Recognizes, by file contents, which images of a data set are in another, such as a run's training set."""

import hashlib
import os
from pathlib import Path

from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Source

CHUNK = 4096  # bytes; three of them and the size tell files apart without reading a large data set whole


def fingerprint(path: str | Path) -> str:
    """32 hexadecimal digits by a file's size and its bytes at the start, in the middle and at the end."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=16)
        for start in (0, size // 2, max(0, size - CHUNK)):
            file.seek(start)
            digest.update(file.read(CHUNK))
    return digest.hexdigest()


def fingerprints(source: Source) -> list[str]:
    """The fingerprint of each image of a source that is a file."""
    paths = [path for path in map(source.describe, range(len(source))) if Path(path).is_file()]
    return list(scan(fingerprint, paths, "comparing images"))


def write_fingerprints(path: Path, source: Source):
    """Write the fingerprints of a source's files, one per line; no file if there are none."""
    if lines := fingerprints(source):
        path.write_text("\n".join(sorted(lines)) + "\n", encoding="ascii")


def count_known(path: Path, source: Source) -> int:
    """How many of a source's images are in a file of `write_fingerprints`; 0 without such a file."""
    if not path.is_file():
        return 0
    known = set(path.read_text(encoding="ascii").split())
    return sum(one in known for one in fingerprints(source))
