"""How many objects a batch has room for in each image."""

from collections.abc import Sequence

from visiontasks.data.sources.source import Source
from visiontasks.sample import OBJECT_FIELDS, by_set

ROOM = 100  # in any case


def make_room(sources: Sequence[Source], fields: Sequence[str], max_objects: int | None = None) -> int:
    """The objects per image for batches of these sources: as given, or for every image, at least `ROOM`.

    An image of more than given, or of more than `ROOM`, is noted in its source's report.
    """
    sets = [label_set for label_set, names in by_set(fields).items() if names.keys() & set(OBJECT_FIELDS)]
    most = ROOM if max_objects is None else max_objects
    larger = []
    for source in sources if sets else ():
        for index in range(len(source)):
            count = max(source.object_count(index, label_set) or 0 for label_set in sets)
            if count > most:
                larger.append((source, index, count))
    room = max((count for *_, count in larger), default=most) if max_objects is None else most
    for source, index, _ in larger:
        if room > most:
            source.report.noted(f"more than {ROOM} objects: a batch has room for {room}", source.describe(index))
        else:
            source.report.skipped(too_many(most), source.describe(index))
    return room


def too_many(most: int) -> str:
    """What a report says of an image with more than `most` objects."""
    return f"more than {most} objects (max_objects): the smallest left out, their classes not known there"
