"""`NeighborIndex`: the exact nearest neighbors among vectors, and pairs that are nearly the same."""

from collections.abc import Iterator

import numpy as np

from visiontasks.errors import UserError

BLOCK = 2**22  # similarities that are computed at a time: 32 MB


class NeighborIndex:
    """Finds the nearest of N vectors by cosine similarity; exact, in blocks, by matrix products in float64.

    Equal vectors have equal similarities: each distinct one is multiplied once, because a matrix product may round the
    same numbers differently in its last columns. Of equal similarities the lower index comes first.

    Args:
        vectors: float (N, D) of length 1.
    """

    def __init__(self, vectors: np.ndarray):
        vectors = checked_vectors(vectors)
        first: dict[bytes, int] = {}  # a row's bytes to its number among the distinct ones
        rows = np.ascontiguousarray(vectors + 0.0)  # -0.0 is 0.0
        self._number = np.array([first.setdefault(row.tobytes(), len(first)) for row in rows])
        self._repeats = len(first) < len(rows)
        _, firsts = np.unique(self._number, return_index=True)
        self._distinct = rows[firsts].astype(np.float64)

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
        k = min(checked_count(k), len(self))
        queries = np.asarray(queries, np.float64)
        blocks = [nearest(self._similarities(queries[rows]), k) for rows in self._steps(len(queries))]
        return _joined(blocks, k)

    def neighbors(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest others of each of the vectors themselves, as `search` returns them; N - 1 where k is larger."""
        k = min(checked_count(k), len(self) - 1)
        return _joined([block for _, block in self.neighbor_blocks(k)] if k else [], k, len(self))

    def neighbor_blocks(self, k: int) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
        """(rows, their part of `neighbors`), for a k so large that all together would fill the memory."""
        for rows, similarities in self.blocks():
            similarities[np.arange(len(rows)), rows] = -np.inf  # itself
            yield rows, nearest(similarities, min(k, len(self) - 1))

    def near_duplicates(self, threshold: float, most: int = 10_000) -> tuple[np.ndarray, np.ndarray, int]:
        """Pairs of vectors whose similarity is at or above a threshold, the most similar first.

        Args:
            threshold: a cosine, above 0 up to 1.
            most: pairs that are returned.

        Returns:
            Indices int64 (P, 2), the lower one first; similarities float64 (P,); and how many pairs there are in all.
        """
        duplicates = NearDuplicates(threshold, most)
        for rows, similarities in self.blocks():
            duplicates.add(rows, similarities)
        return duplicates.pairs, duplicates.similarities, duplicates.count

    def blocks(self, numbers: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rows int64 (R,), their similarities to all vectors, float64 (R, N)) of all vectors, or of these numbers.

        The similarities belong to the caller, who may change them.
        """
        numbers = np.arange(len(self)) if numbers is None else numbers
        for part in self._steps(len(numbers)):
            rows = numbers[part]
            yield rows, self._similarities(self._distinct[self._number[rows]])

    def _steps(self, count) -> Iterator[slice]:
        step = max(1, BLOCK // len(self))
        return (slice(start, min(start + step, count)) for start in range(0, count, step))

    def _similarities(self, queries):
        similarities = queries @ self._distinct.T
        np.clip(similarities, -1, 1, out=similarities)
        return similarities[:, self._number] if self._repeats else similarities


class NearDuplicates:
    """Pairs at or above a similarity, collected from an index's `blocks`.

    Args:
        threshold, most: as for `NeighborIndex.near_duplicates`.

    Attributes:
        pairs: int64 (P, 2), the most similar first, at most `most`; the lower number of a pair comes first.
        similarities: float64 (P,).
        count: of all pairs.
    """

    def __init__(self, threshold: float, most: int):
        self._least, self._most = threshold - 1e-6, most  # float32 vectors of length 1 have a length of 1 ± 1e-7
        self.pairs, self.similarities, self.count = np.zeros((0, 2), np.int64), np.zeros(0), 0

    def add(self, rows: np.ndarray, similarities: np.ndarray):
        """Take in a block: int (R,) and float (R, N)."""
        row, other = np.nonzero(similarities >= self._least)
        upper = other > rows[row]
        row, other = row[upper], other[upper]
        self.add_pairs(np.stack([rows[row], other], axis=1), similarities[row, other])

    def add_pairs(self, pairs: np.ndarray, similarities: np.ndarray):
        """Take in pairs int (P, 2), each for the first time; those below the threshold are left out."""
        near = similarities >= self._least
        self.count += int(near.sum())
        pairs = np.concatenate([self.pairs, pairs[near]])
        similarities = np.concatenate([self.similarities, similarities[near]])
        # pairs come in order, so equal ones stay in it
        best = np.argsort(-similarities, kind="stable")[: self._most]
        self.pairs, self.similarities = pairs[best], similarities[best]


def nearest(similarities: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(int64 (R, k), float64 (R, k)): the columns of the k largest of each row, of equal ones the first."""
    least = np.partition(similarities, -k, axis=1)[:, -k]
    indices = np.empty((len(similarities), k), np.int64)
    for row, (values, bound) in enumerate(zip(similarities, least, strict=True)):
        among = np.flatnonzero(values >= bound)
        indices[row] = among[np.argsort(-values[among], kind="stable")[:k]]
    return indices, np.take_along_axis(similarities, indices, axis=1)


def checked_vectors(vectors) -> np.ndarray:
    """An array (N, D) of one row or more.

    Raises:
        UserError: it is not a two-dimensional array, or it is empty.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or not len(vectors):
        raise UserError(f"expected an array (N, D) of one row or more, got {vectors.shape}.", "vectors")
    return vectors


def checked_count(k: int) -> int:
    """k, if it is 1 or more; otherwise a UserError."""
    if k < 1:
        raise UserError(f"expected 1 or more, got {k}.", "k")
    return k


def _joined(blocks, k, count=0) -> tuple[np.ndarray, np.ndarray]:
    if not blocks:
        return np.zeros((count, k), np.int64), np.zeros((count, k))
    return tuple(np.concatenate(parts) for parts in zip(*blocks, strict=True))
