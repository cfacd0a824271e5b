"""`ApproximateIndex`: nearest neighbors among very many vectors, nearly all of them, by usearch."""

import numpy as np

from visiontasks.errors import UserError
from visiontasks.keras_backend import installed
from visiontasks.retrieval.index import NearDuplicates, checked_count, checked_vectors

SPARE = 8  # candidates beyond k, because half precision orders what is nearly equally near at random
AROUND = 32  # neighbors of each vector among which near duplicates are looked for
BLOCK = 2**24  # numbers of vectors that are compared at a time: 128 MB


class ApproximateIndex:
    """Finds nearest neighbors by a graph of small worlds, in time that grows with N log N and not with N².

    usearch's HNSW (Malkov and Yashunin 2016, https://arxiv.org/abs/1603.09320) on vectors in half precision gives
    candidates; they are ordered by their exact similarities. So what is found has the similarity that `NeighborIndex`
    gives, but a neighbor may be missing. Threads insert in an order that varies: two indexes of the same vectors may
    differ in what they miss.

    Args:
        vectors: float (N, D) of length 1.

    Raises:
        UserError: usearch is not installed.
    """

    def __init__(self, vectors: np.ndarray):
        check_installed()
        from usearch.index import Index

        self._vectors = np.ascontiguousarray(checked_vectors(vectors), np.float32)
        # the inner product, not the cosine: vectors of zeros have none
        self._graph = Index(ndim=self._vectors.shape[1], metric="ip", dtype="f16")
        self._graph.add(np.arange(len(self)), self._vectors)

    def __len__(self):
        return len(self._vectors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `NeighborIndex.search`."""
        return self._nearest(np.asarray(queries, np.float32), min(checked_count(k), len(self)))

    def neighbors(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `NeighborIndex.neighbors`."""
        return self._nearest(self._vectors, min(checked_count(k), len(self) - 1), own=np.arange(len(self)))

    def near_duplicates(self, threshold: float, most: int = 10_000) -> tuple[np.ndarray, np.ndarray, int]:
        """As `NeighborIndex.near_duplicates`, among the 32 nearest of each: of groups of more copies not all pairs."""
        duplicates = NearDuplicates(threshold, most)
        if len(self) > 1:
            near, similarities = self.neighbors(AROUND)
            pairs = np.stack([np.repeat(np.arange(len(self)), near.shape[1]), near.reshape(-1)], axis=1)
            pairs, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
            duplicates.add_pairs(pairs, similarities.reshape(-1)[first])
        return duplicates.pairs, duplicates.similarities, duplicates.count

    def _nearest(self, queries, k, own=None):
        indices, similarities = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
        wanted = min(k + SPARE + (own is not None), len(self))
        step = max(1, BLOCK // (wanted * self._vectors.shape[1]))
        for start in range(0, len(queries) if k else 0, step):
            rows = slice(start, start + step)
            candidates = self._candidates(queries[rows], wanted)
            exact = np.einsum("qd,qkd->qk", queries[rows].astype(np.float64), self._vectors[candidates])
            if own is not None:
                exact[candidates == own[rows, None]] = -np.inf
            order = np.argsort(-exact, axis=1, kind="stable")[:, :k]  # of equal ones the lower index comes first
            indices[rows] = np.take_along_axis(candidates, order, axis=1)
            similarities[rows] = np.clip(np.take_along_axis(exact, order, axis=1), -1, 1)
        return indices, similarities

    def _candidates(self, queries, wanted):
        """int64 (Q, wanted), rising; of a query that the graph gives fewer for, the nearest by comparing all."""
        matches = self._graph.search(queries, wanted)
        if len(queries) == 1:  # usearch then returns one dimension less, and what it found alone
            keys, counts = np.zeros((1, wanted), np.int64), np.array([len(matches)])
            keys[0, : counts[0]] = matches.keys
        else:
            keys, counts = matches.keys.astype(np.int64), np.asarray(matches.counts)
        for row in np.flatnonzero(counts < wanted):
            keys[row] = np.argpartition(-(self._vectors @ queries[row]), wanted - 1)[:wanted]
        return np.sort(keys, axis=1)


def check_installed():
    """Raise unless usearch is installed.

    Raises:
        UserError: it is not; names the line for pip.
    """
    if not installed("usearch"):
        raise UserError('usearch is not installed: pip install "visiontasks[usearch]". Or take exact.', "index")
