"""`Records`: a JSON file that grows record by record."""

import json
import textwrap
from pathlib import Path


class Records:
    """A JSON file of a list, written one record after the other, so that a video's need no memory.

    Args:
        path: the file.
        indent: spaces before what is inside of a record; by default each is one line.

    Attributes:
        count: how many there are.
    """

    def __init__(self, path: Path, indent: int | None = None):
        self._file, self._indent, self.count = path.open("w", encoding="utf-8"), indent, 0

    def add(self, record: dict):
        """Append one record."""
        text = textwrap.indent(json.dumps(record, indent=self._indent, ensure_ascii=False), "  ")
        self._file.write((",\n" if self.count else "[\n") + text)
        self.count += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.write("\n]\n" if self.count else "[]\n")
        self._file.close()
