"""`Source`: what every data source is: a sequence of Samples that knows its class names and what it had to skip."""

import abc
import collections
from collections.abc import Iterable, Sequence
from pathlib import Path

from visiontasks.arguments import Checked
from visiontasks.sample import Sample


class Report:
    """What a source skipped, mended or warned of: a count and the first names of each kind."""

    SHOWN = 5

    def __init__(self):
        self._seen: dict[str, dict[str, None]] = collections.defaultdict(dict)
        self._fresh: list[tuple[str, str]] = []

    def add(self, what: str, name: str):
        """Note that `what` (say "truncated JPEG, skipped") happened to `name`; the same pair counts once."""
        if name not in self._seen[what]:
            self._seen[what][name] = None
            self._fresh.append((what, name))

    def fresh(self) -> list[tuple[str, str]]:
        """What was added since this was last asked: what a worker process must tell, whose report is a copy."""
        taken, self._fresh = self._fresh, []
        return taken

    def count(self, what: str) -> int:
        return len(self._seen.get(what, ()))

    def __bool__(self):
        return bool(self._seen)

    def whole(self) -> str:
        """Every name: a line a kind, then a line a name."""
        return "\n".join(
            f"{len(names)} × {what}:\n" + "\n".join(f"  {name}" for name in names) for what, names in self._seen.items()
        )

    def __str__(self):
        """One line a kind: the count, what happened, the first few names."""
        lines = []
        for what, names in self._seen.items():
            shown = ", ".join(list(names)[: self.SHOWN]) + (", …" if len(names) > self.SHOWN else "")
            lines.append(f"{len(names)} × {what}: {shown}")
        return "\n".join(lines)


class Source(Checked, abc.ABC):
    """A sequence of Samples. Its constructor's arguments are what a recipe may say, checked by their annotations.

    Attributes:
        fields: the Sample fields that its samples carry, e.g. frozenset({"label"}).
        names: class names by field, e.g. {"label": ("cat", "dog")}.
        report: what was skipped or mended, filled while constructing and while reading.
        LAYOUT: how a folder looks that `recognise` knows; None for a source that no folder stands for.
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
        """The sample; every call reads it anew and gives the same.

        Raises:
            BadPicture: the file cannot be read; the pipeline skips it.
        """

    def read(self, index: int, fields: Iterable[str]) -> Sample:
        """The sample for a batch of some fields; a source may leave out others that are costly, such as masks."""
        return self[index]

    def results(self, sample: Sample, found: dict) -> list[dict] | None:
        """What was found in a sample as the data set's own tools take it, or None where they take no such thing.

        Args:
            sample: one of this source's.
            found: `boxes` (N, 4), `scores` (N,) and `classes` (N,), in its own pixels.
        """
        return None

    @abc.abstractmethod
    def describe(self, index: int) -> str:
        """The file or name of a sample, without reading it."""

    @classmethod
    def recognise(cls, root: Path) -> dict[str, dict] | None:
        """What a recipe would say of the folder `root`, or None where it is not laid out for this source.

        Returns {"train": {constructor arguments}, "val": {constructor arguments}}; without "val" where the folder has
        no such part, and the training part is split.
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

    def results(self, sample, found):
        return self.source.results(sample, found)

    def describe(self, index):
        return self.source.describe(self.indices[index])
