"""What is alike among the images of a folder: near duplicates, and scores where classes are known, in one pass."""

import dataclasses

import numpy as np

from visiontasks.retrieval.approximate import ApproximateIndex
from visiontasks.retrieval.features import Features
from visiontasks.retrieval.index import NearDuplicates, NeighborIndex, nearest
from visiontasks.retrieval.metrics import RetrievalTotals, vote
from visiontasks.retrieval.thumbnails import spread
from visiontasks.sample import UNLABELED

MOST_ASKED = 5000  # images that scores ask for with an approximate index: with all, they would take N² comparisons


@dataclasses.dataclass(frozen=True)
class Survey:
    """What `survey` finds.

    Attributes:
        pairs: int64 (P, 2), near duplicates, the most similar first.
        similarities: float64 (P,), theirs.
        count: of all near duplicates.
        scores: {name: value}, without classes {}.
        validation: whether the scores are those of validation images, whose classes training images vote for.
        asked: images that the scores are the mean of.
    """

    pairs: np.ndarray
    similarities: np.ndarray
    count: int
    scores: dict[str, float]
    validation: bool
    asked: int


def survey(
    features: Features,
    index: NeighborIndex | ApproximateIndex,
    k: int = 5,
    threshold: float = 0.95,
    most: int = 10_000,
) -> Survey:
    """Near duplicates and scores of Features.

    With an exact index every two images are compared once, for all of it. With an approximate one near duplicates come
    from the index, and at most 5000 images, evenly chosen, are compared with all others for the scores.

    Args:
        features: of the images.
        index: of their vectors.
        k: neighbors that vote for a class.
        threshold, most: of near duplicates, see `NeighborIndex.near_duplicates`.
    """
    exact = isinstance(index, NeighborIndex)
    scores = _Scores(features, k, None if exact else MOST_ASKED) if features.labeled else None
    if exact:
        duplicates = NearDuplicates(threshold, most)
        for rows, similarities in index.blocks():
            duplicates.add(rows, similarities)
            if scores:
                scores.add(rows, similarities)
        pairs = duplicates.pairs, duplicates.similarities, duplicates.count
    else:
        pairs = index.near_duplicates(threshold, most)
        for rows, similarities in NeighborIndex(features.vectors).blocks(scores.asked) if scores else ():
            scores.add(rows, similarities)
    if scores is None:
        return Survey(*pairs, {}, False, 0)
    return Survey(*pairs, scores.result(), scores.validation, len(scores.asked))


class _Scores:
    """kNN accuracy and retrieval scores: of "val" if there is one, else of all labeled images, each without itself.

    Classes are voted for by the training images, or by all others; images are retrieved among those of the same split.
    """

    def __init__(self, features, k, most):
        self._labels, self._k = features.labels, k
        known = features.labels > UNLABELED
        val = known & (features.splits == "val")
        self.validation = bool(val.any() and (known & ~val).any())
        self._searched = np.flatnonzero(val if self.validation else known)
        self._voters = np.flatnonzero(known & ~val) if self.validation else self._searched
        count = len(self._searched)
        self.asked = self._searched if most is None else self._searched[spread(count, most)]
        self._totals, self._right = RetrievalTotals(self._labels[self._searched]), 0

    def add(self, rows, similarities):
        asked = np.isin(rows, self.asked)
        rows, similarities = rows[asked], similarities[asked]
        if not len(rows):
            return
        similarities[np.arange(len(rows)), rows] = -np.inf  # itself
        others = len(self._searched) - 1
        neighbors = np.zeros((len(rows), 0), np.int64)
        if others:
            depth = min(max(self._totals.deepest, self._k), others)
            neighbors, _ = nearest(self._among(similarities, self._searched), depth)
            self._totals.add(np.searchsorted(self._searched, rows), neighbors[:, : self._totals.deepest])
        if self.validation:
            neighbors, _ = nearest(self._among(similarities, self._voters), min(self._k, len(self._voters)))
        votes = self._labels[self._voters[neighbors[:, : self._k]]]
        self._right += int((vote(votes) == self._labels[rows]).sum())

    @staticmethod
    def _among(similarities, numbers):
        return similarities if len(numbers) == similarities.shape[1] else similarities[:, numbers]

    def result(self):
        retrieved = {name: value for name, value in self._totals.result().items() if np.isfinite(value)}
        return {f"knn@{self._k}": self._right / len(self.asked), **retrieved}
