"""Chooses the images of an evaluation that are drawn: the worst, the best, and random ones."""

import dataclasses
import heapq
import math

import numpy as np

from visiontasks.sample import Sample


@dataclasses.dataclass(frozen=True)
class Example:
    """A chosen image: "worst_00", "best_00", "random_00", …, its Sample, and {head name: its restored prediction}."""

    name: str
    sample: Sample
    prediction: dict[str, dict[str, np.ndarray]]


class Examples:
    """A third of the images are those with the lowest scores, a third those with the highest, the others are random.

    No image is chosen twice, and no more than `count` are held at a time.

    Args:
        count: how many to choose.
    """

    def __init__(self, count: int):
        self._count, self._seen, self._rng = count, 0, np.random.default_rng(0)
        # heaps of (key, minus the image's number, image): the first is the next one to go, of equal keys the last image
        self._worst, self._best, self._others = [], [], []

    def offer(self, score: float, sample: Sample, prediction: dict):
        """Take the image, or leave it.

        Args:
            score: the higher the better; an image without one, NaN, can only be a random one.
        """
        image, share = (-self._seen, (score, sample, prediction)), self._count // 3
        self._seen += 1
        # what one group leaves is offered to the next: each is chosen among all images that those before it leave
        if not math.isnan(score):
            image = _keep(self._worst, share, lambda score: -score, image)
            image = _keep(self._best, share, lambda score: score, image)
        _keep(self._others, self._count, lambda _: self._rng.random(), image)
        while len(self._worst) + len(self._best) + len(self._others) > self._count:
            heapq.heappop(self._others)

    def chosen(self) -> list[Example]:
        """The worst, the worst of all first; the best, the best of all first; the others in the order of the data."""
        groups = {
            "worst": sorted(self._worst, reverse=True),
            "best": sorted(self._best, reverse=True),
            "random": sorted(self._others, key=lambda entry: -entry[1]),
        }
        return [
            Example(f"{group}_{rank:02d}", sample, prediction)
            for group, entries in groups.items()
            for rank, (*_, (_, sample, prediction)) in enumerate(entries)
        ]


def _keep(heap, size, key, image):
    """Put an image into a heap of the `size` largest keys; returns the one that has no room there, or None."""
    if image is None:
        return None
    number, content = image
    entry = (key(content[0]), number, content)
    if len(heap) < size:
        heapq.heappush(heap, entry)
        return None
    return (heapq.heappushpop(heap, entry) if size else entry)[1:]
