"""Sources made of sources: a `Subset`, a `Named` label set, `EachObject` alone, and several sources `Mixed`."""

import abc
import bisect
import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from visiontasks.data.placing import choose
from visiontasks.data.report import Report
from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Source
from visiontasks.errors import DataError
from visiontasks.sample import named


class Derived(Source):
    """A source whose samples are those of other sources."""

    @abc.abstractmethod
    def locate(self, index: int) -> tuple[Source, int]:
        """The source of a sample, and the sample's number in it."""

    def __getitem__(self, index):
        return self.read(index, self.fields)

    def read(self, index, fields):
        source, number = self.locate(index)
        return source.read(number, fields)

    def posed(self, index, label_set=""):
        source, number = self.locate(index)
        return source.posed(number, label_set)

    def object_count(self, index, label_set=""):
        source, number = self.locate(index)
        return source.object_count(number, label_set)

    def describe(self, index):
        source, number = self.locate(index)
        return source.describe(number)


class Subset(Derived):
    """Some samples of another source, in the order given."""

    def __init__(self, source: Source, indices: Iterable[int]):
        self.source, self.indices, self.results = source, list(indices), source.results
        self.fields, self.names, self.report = source.fields, source.names, source.report
        self.derived = source.derived

    @property
    def partial(self):
        return self.source.partial

    def __len__(self):
        return len(self.indices)

    def locate(self, index):
        return self.source, self.indices[index]

    def alike(self, index):
        others = self.source.alike(self.indices[index])
        whole = len(others) == len(self.source)
        return super().alike(index) if whole else [n for n, number in enumerate(self.indices) if number in others]


class Named(Derived):
    """A source whose labels are in a named set: its fields are NAME/boxes, NAME/classes, …"""

    def __init__(self, source: Source, label_set: str):
        if further := sorted(field for field in source.fields if "/" in field):
            raise DataError(f"expected a source whose label sets have no name, got the fields {further}.", "set")
        self.source, self.label_set, self.report, self.results = source, label_set, source.report, source.results
        self.fields, self.derived = (frozenset(named(label_set, names)) for names in (source.fields, source.derived))
        self.names = dict(zip(named(label_set, source.names), source.names.values(), strict=True))

    @property
    def partial(self):
        return {*named(self.label_set, self.source.partial)}

    def __len__(self):
        return len(self.source)

    def locate(self, index):
        return self.source, index

    def alike(self, index):
        return self.source.alike(index)

    def posed(self, index, label_set=""):
        return self.source.posed(index) if label_set == self.label_set else np.zeros(0, int)

    def object_count(self, index, label_set=""):
        return self.source.object_count(index) if label_set == self.label_set else 0

    def read(self, index, fields):
        sample = super().read(index, [field.removeprefix(f"{self.label_set}/") for field in fields])
        return sample.of(None).replace(sets={self.label_set: sample})


class EachObject(Derived):
    """One sample for each object of another source that has a labeled keypoint: its image, with this object alone.

    The objects are looked for once, in all images.

    Raises:
        DataError: no object has a labeled keypoint.
    """

    def __init__(self, source: Source, label_set: str = ""):
        self.source, self.label_set, self.results = source, label_set, source.results
        self.fields, self.names, self.report = source.fields, source.names, source.report
        self.derived = source.derived
        found = scan(lambda index: source.posed(index, label_set), range(len(source)), "Looking for people")
        self.places = [(index, number) for index, numbers in enumerate(found) for number in numbers.tolist()]
        if not self.places:
            raise DataError("expected objects with keypoints that are labeled, got none.", "data")

    @property
    def partial(self):
        return self.source.partial

    def __len__(self):
        return len(self.places)

    def locate(self, index):
        return self.source, self.places[index][0]

    def object_count(self, index, label_set=""):
        return 1

    def read(self, index, fields):
        # whole objects: a source may leave out fields, but not objects
        more = named(self.label_set, ("boxes", "classes", "keypoints"))
        sample, number = super().read(index, [*dict.fromkeys((*fields, *more))]), self.places[index][1]
        one = sample.of(self.label_set)
        areas = one.areas if one.areas is None else one.areas[[number]]
        one = choose(one, np.array([number])).replace(areas=areas)
        return one if not self.label_set else sample.replace(sets={**sample.sets, self.label_set: one})


class Mixed(Derived):
    """The samples of several sources, one source after the other.

    A sample has the labels that its source gives; those of the other sources are not labeled in it. It gives no
    `results` for other tools, because their files belong to one data set.

    Args:
        sources: at least one; those that give the same field of the same label set have the same names for it.
        report: of all sources, if they have one in common; by default theirs become one.

    Raises:
        DataError: the names of a field differ.
    """

    def __init__(self, sources: Sequence[Source], report: Report | None = None):
        # of a mixture its sources: their reports are joined once
        parts = (source.sources if isinstance(source, Mixed) else [source] for source in sources)
        self.sources, self.report, self.names = [*itertools.chain(*parts)], Report() if report is None else report, {}
        self.fields = frozenset().union(*(source.fields for source in self.sources))
        real = frozenset().union(*(source.fields - source.derived for source in self.sources))
        # what one source has as labels, the others do not derive
        self.derived = frozenset().union(*(source.derived & source.fields for source in self.sources)) - real
        self.fields = real | self.derived
        self._ends = list(itertools.accumulate(map(len, self.sources)))
        for source in self.sources:
            if report is None:
                self.report.join(source.report)
            for field, names in source.names.items():
                if field in source.derived & real:
                    continue
                if (before := self.names.setdefault(field, names)) != names:
                    raise DataError(
                        f"expected one list of names for {field!r} from all sources, got {list(before)} and "
                        f"{list(names)}. Give all the same names=[…], or one a label set of its own, set=NAME.",
                        "data",
                    )

    @property
    def partial(self):
        return set().union(*(source.partial for source in self.sources))

    def __len__(self):
        return self._ends[-1]

    def locate(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index from 0 to {len(self) - 1}, got {index}.")
        number = bisect.bisect_right(self._ends, index)
        return self.sources[number], index - self._ends[number] + len(self.sources[number])

    def read(self, index, fields):
        source, number = self.locate(index)
        return source.read(number, [name for name in fields if name in self.derived or name not in source.derived])

    def alike(self, index):
        source, number = self.locate(index)
        return range(index - number, index - number + len(source))
