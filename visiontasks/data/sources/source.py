"""`Source`: the base class of data sources, sequences of Samples with class names and a report of what was skipped."""

import abc
import collections
from collections.abc import Iterable, Sequence
from pathlib import Path

from visiontasks.arguments import Checked
from visiontasks.sample import Sample


class Report:
    """What a source skipped, corrected or warned about: the count and the names of each kind."""

    SHOWN = 5

    def __init__(self):
        self._seen: dict[str, dict[str, None]] = collections.defaultdict(dict)
        self._fresh: list[tuple[str, str]] = []

    def add(self, what: str, name: str):
        """Note that `what` (such as "truncated JPEG, skipped") happened to `name`; the same pair counts once."""
        if name not in self._seen[what]:
            self._seen[what][name] = None
            self._fresh.append((what, name))

    def fresh(self) -> list[tuple[str, str]]:
        """The notes since the last call: a worker process has its own copy of the report and sends these."""
        taken, self._fresh = self._fresh, []
        return taken

    def count(self, what: str) -> int:
        return len(self._seen.get(what, ()))

    def __bool__(self):
        return bool(self._seen)

    def whole(self) -> str:
        """All names: one line per kind, then one line per name."""
        return "\n".join(
            f"{len(names)} × {what}:\n" + "\n".join(f"  {name}" for name in names) for what, names in self._seen.items()
        )

    def __str__(self):
        """One line per kind: the count, what happened, the first names."""
        lines = []
        for what, names in self._seen.items():
            shown = ", ".join(list(names)[: self.SHOWN]) + (", …" if len(names) > self.SHOWN else "")
            lines.append(f"{len(names)} × {what}: {shown}")
        return "\n".join(lines)


class Source(Checked, abc.ABC):
    """A sequence of Samples. Its constructor's arguments are its recipe keys, checked by their annotations.

    Attributes:
        fields: the Sample fields that its samples have, such as frozenset({"label"}).
        names: class names by field, such as {"label": ("cat", "dog")}.
        report: what was skipped or corrected; filled by the constructor and by reading.
        LAYOUT: the folder layout that `recognize` accepts; None for a source without one.
    """

    LAYOUT: str | None = None
    fields: frozenset[str]
    names: dict[str, tuple[str, ...]]

    def __init__(self):
        self.report = Report()

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The sample; every call reads it again and returns the same.

        Raises:
            BadImage: the file cannot be read; the pipeline skips it.
        """

    def read(self, index: int, fields: Iterable[str]) -> Sample:
        """The sample for a batch of some fields; a source may leave out costly other fields, such as masks."""
        return self[index]

    def results(self, sample: Sample, detections: dict) -> list[dict] | None:
        """A sample's detections in the format of the data set's own tools; None if they have no such format.

        Args:
            sample: a sample of this source.
            detections: `boxes` (N, 4), `scores` (N,) and `classes` (N,), in the sample's pixels.
        """
        return None

    @abc.abstractmethod
    def describe(self, index: int) -> str:
        """The file or name of a sample, without reading it."""

    @classmethod
    def recognize(cls, root: Path) -> dict[str, dict] | None:
        """The constructor arguments for the folder `root`, or None if its layout is not this source's.

        Returns {"train": {constructor arguments}, "val": {constructor arguments}}. Without "val", the training set is
        split.
        """
        return None


class Subset(Source):
    """Some samples of another source, in the order given."""

    def __init__(self, source: Source, indices: Sequence[int] | Iterable[int]):
        self.source, self.indices = source, list(indices)
        self.fields, self.names, self.report = source.fields, source.names, source.report

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        return self.source[self.indices[index]]

    def read(self, index, fields):
        return self.source.read(self.indices[index], fields)

    def results(self, sample, detections):
        return self.source.results(sample, detections)

    def describe(self, index):
        return self.source.describe(self.indices[index])
