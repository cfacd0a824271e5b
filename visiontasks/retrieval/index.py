"""`NeighborIndex`: the exact nearest neighbors among vectors, and pairs that are nearly the same."""

from collections.abc import Iterator

import numpy as np

from visiontasks.errors import UserError

BLOCK = 2**24  # similarities that are computed at a time: 128 MB


class NeighborIndex:
    """Finds the nearest of N vectors by cosine similarity; exact, in blocks, by matrix products in float64.

    Equal vectors have equal similarities: each distinct one is multiplied once, because a matrix product may round the
    same numbers differently in its last columns. Of equal similarities the lower index comes first.

    Args:
        vectors: float (N, D) of length 1.
    """

    def __init__(self, vectors: np.ndarray):
        vectors = np.asarray(vectors)
        if vectors.ndim != 2 or not len(vectors):
            raise UserError(f"expected an array (N, D) of one row or more, got {vectors.shape}.", "vectors")
        distinct, self._number = np.unique(vectors, axis=0, return_inverse=True)
        self._number = self._number.reshape(-1)  # NumPy 2.0.0 gives it another shape
        self._distinct = distinct.astype(np.float64)

    def __len__(self):
        return len(self._number)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of each query, nearest first.

        Args:
            queries: float (Q, D) of length 1.
            k: from 1 up; of an index of fewer vectors all are returned.

        Returns:
            Their indices, int64 (Q, k), and similarities, float64 (Q, k).

        Raises:
            UserError: k is below 1.
        """
        k = min(_checked(k), len(self))
        queries = np.asarray(queries, np.float64)
        found = [_nearest(scores, k) for _, scores in self._blocks(queries)]
        return _joined(found, k)

    def neighbors(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest others of each of the vectors themselves, as `search` returns them; N - 1 where k is larger."""
        k = min(_checked(k), len(self) - 1)
        return _joined([found for _, found in self.neighbor_blocks(k)] if k else [], k, len(self))

    def neighbor_blocks(self, k: int) -> Iterator[tuple[slice, tuple[np.ndarray, np.ndarray]]]:
        """(rows, their part of `neighbors`), for a k so large that all together would fill the memory."""
        for rows, scores in self._blocks(None):
            scores[np.arange(len(scores)), np.arange(rows.start, rows.stop)] = -np.inf  # itself
            yield rows, _nearest(scores, min(k, len(self) - 1))

    def near_duplicates(self, threshold: float, most: int = 10_000) -> tuple[np.ndarray, np.ndarray, int]:
        """Pairs of vectors whose similarity is at or above a threshold, the most similar first.

        Args:
            threshold: a cosine, above 0 up to 1.
            most: pairs that are returned.

        Returns:
            Indices int64 (P, 2), the lower one first; similarities float64 (P,); and how many pairs there are in all.
        """
        pairs, values, count = np.zeros((0, 2), np.int64), np.zeros(0), 0
        for rows, scores in self._blocks(None):
            near = scores >= threshold - 1e-6  # float32 vectors of length 1 have a length of 1 ± 1e-7
            near &= np.arange(len(self)) > np.arange(rows.start, rows.stop)[:, None]
            row, column = np.nonzero(near)
            count += len(row)
            pairs = np.concatenate([pairs, np.stack([row + rows.start, column], axis=1)])
            values = np.concatenate([values, scores[row, column]])
            best = np.argsort(-values, kind="stable")[:most]  # pairs come in order, so equal ones stay in it
            pairs, values = pairs[best], values[best]
        return pairs, values, count

    def _blocks(self, queries) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, their similarities to all vectors, float64 (rows, N)); without queries those of the vectors."""
        count, step = len(self if queries is None else queries), max(1, BLOCK // len(self))
        for start in range(0, count, step):
            rows = slice(start, min(start + step, count))
            some = self._distinct[self._number[rows]] if queries is None else queries[rows]
            yield rows, np.clip(some @ self._distinct.T, -1, 1)[:, self._number]


def _nearest(scores, k) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of each row, of equal ones the first."""
    least = np.partition(scores, -k, axis=1)[:, -k]
    indices = np.empty((len(scores), k), np.int64)
    for row, (values, bound) in enumerate(zip(scores, least, strict=True)):
        among = np.flatnonzero(values >= bound)
        indices[row] = among[np.argsort(-values[among], kind="stable")[:k]]
    return indices, np.take_along_axis(scores, indices, axis=1)


def _joined(found, k, count=0) -> tuple[np.ndarray, np.ndarray]:
    if not found:
        return np.zeros((count, k), np.int64), np.zeros((count, k))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _checked(k: int) -> int:
    if k < 1:
        raise UserError(f"expected 1 or more, got {k}.", "k")
    return k
