"""Recognizes, by file contents, which images of a data set are in another, such as a run's training set."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Source
from visiontasks.writing import write_text


def fingerprint(path: str | Path) -> str:
    """32 hexadecimal digits, a hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def fingerprints(source: Source, known: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """The fingerprint of each image of a source that is a file; `known` has some by path."""
    paths = [path for path in map(source.describe, range(len(source))) if Path(path).is_file()]
    return list(scan(lambda path: known.get(path) or fingerprint(path), paths, "comparing images"))


def write_fingerprints(path: Path, source: Source, known: Mapping[str, str] = MappingProxyType({})):
    """Write the fingerprints of a source's files, one per line; no file if there are none."""
    if lines := fingerprints(source, known):
        write_text(path, "\n".join(sorted(lines)) + "\n", "dir", encoding="ascii")


def count_known(path: Path, source: Source) -> int:
    """How many of a source's images are in a file of `write_fingerprints`; 0 without such a file."""
    if not path.is_file():
        return 0
    known = set(path.read_text(encoding="ascii").split())
    return sum(one in known for one in fingerprints(source))
