"""How many objects a batch has room for in each image."""

import math
from collections.abc import Sequence

import numpy as np

from visiontasks.data.sources.source import Source
from visiontasks.sample import OBJECT_FIELDS, by_set

ROOM = 100  # in any case
_DRAWS = 1000


def make_room(sources: Sequence[Source], fields: Sequence[str], max_objects: int | None = None, joined: int = 1) -> int:
    """The objects per image for batches of these sources: as given, or for every image, at least `ROOM`.

    An image of more than given, or of more than `ROOM`, is noted in its source's report.

    Args:
        sources: of the batches.
        fields: the labels in a batch.
        max_objects: as given; None: made.
        joined: how many images a transform makes one of. There is room for the objects of as many, in 99 of 100 draws.
    """
    sets = [label_set for label_set, names in by_set(fields).items() if names.keys() & set(OBJECT_FIELDS)]
    most = ROOM if max_objects is None else max_objects
    larger, room = [], most
    for source in sources if sets else ():
        counts = [max(source.object_count(n, label_set) or 0 for label_set in sets) for n in range(len(source))]
        larger += [(source, index) for index, count in enumerate(counts) if count > most]
        if max_objects is None and counts:
            room = max(room, *counts, _joined(counts, joined) if joined > 1 else 0)
    for source, index in larger:
        if room > most:
            source.report.noted(f"more than {ROOM} objects: a batch has room for {room}", source.describe(index))
        else:
            source.report.skipped(too_many(most), source.describe(index))
    return room


def _joined(counts: Sequence[int], joined: int) -> int:
    """The objects of so many images together, which 99 of 100 draws do not exceed."""
    # the same draws in every run: a batch's shape is part of what a run repeats
    drawn = np.random.default_rng(0).choice(counts, (_DRAWS, joined)).sum(axis=1)
    return math.ceil(np.quantile(drawn, 0.99))


def too_many(most: int, joined: bool = False) -> str:
    """What a report says of an image with more than `most` objects; `joined`: of several images."""
    what = "joined by augmentation with others to more" if joined else "more"
    return f"{what} than {most} objects (max_objects): the smallest left out, their classes not known there"
