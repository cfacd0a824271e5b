"""NeighborIndex against a search that compares every pair by itself."""

import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.retrieval import index
from visiontasks.retrieval.features import normalized
from visiontasks.retrieval.index import NeighborIndex


def brute(vectors, query, k, own=None):
    """Every similarity as a sum of its own; Python's sort, which is stable."""
    scores = [float(np.dot(query.astype("float64"), one.astype("float64"))) for one in vectors]
    order = sorted((i for i in range(len(vectors)) if i != own), key=lambda i: -round(scores[i], 12))
    return order[:k], [scores[i] for i in order[:k]]


@pytest.fixture
def vectors(monkeypatch):
    """With copies, copies of copies, opposite vectors and zeros, in blocks of a few rows."""
    rng = np.random.default_rng(0)
    rows = normalized(rng.normal(size=(57, 37)))
    rows = np.concatenate([rows, rows[::3], rows[:5], -rows[:4], np.zeros((2, 37), np.float32)])
    monkeypatch.setattr(index, "BLOCK", 7 * len(rows))
    return rng.permutation(rows)


@pytest.mark.parametrize("k", [1, 3, 10, 200])
def test_neighbors_are_those_of_brute_force_and_equal_ones_in_order(vectors, k):
    made = NeighborIndex(vectors)
    found, scores = made.neighbors(k)
    asked, asked_scores = made.search(vectors[:20], k)
    assert found.shape == (len(vectors), min(k, len(vectors) - 1)) and asked.shape[1] == min(k, len(vectors))
    for row, query in enumerate(vectors):
        expected, values = brute(vectors, query, k, own=row)
        assert found[row].tolist() == expected
        np.testing.assert_allclose(scores[row], values, atol=1e-12)
    for row, query in enumerate(vectors[:20]):
        expected, values = brute(vectors, query, k)
        assert asked[row].tolist() == expected
        np.testing.assert_allclose(asked_scores[row], values, atol=1e-12)


def test_pairs_above_a_threshold_are_all_of_them(vectors):
    pairs, values, count = NeighborIndex(vectors).near_duplicates(0.3)
    scores = vectors.astype("float64") @ vectors.T.astype("float64")
    expected = {(i, j) for i in range(len(vectors)) for j in range(i + 1, len(vectors)) if scores[i, j] >= 0.3 - 1e-6}
    assert {tuple(pair) for pair in pairs.tolist()} == expected and count == len(expected) > 20
    assert (np.diff(values) <= 0).all() and values[0] == pytest.approx(1)
    few, _, same_count = NeighborIndex(vectors).near_duplicates(0.3, most=4)
    assert few.tolist() == pairs[:4].tolist() and same_count == count


def test_one_vector_has_no_neighbor_and_bad_arguments_are_told():
    alone = NeighborIndex(np.ones((1, 3)) / np.sqrt(3))
    assert alone.neighbors(5)[0].shape == (1, 0) and alone.near_duplicates(0.5)[2] == 0
    with pytest.raises(UserError, match="k: expected 1 or more, got 0"):
        alone.search(np.ones((1, 3)), 0)
    with pytest.raises(UserError, match=r"vectors: expected an array \(N, D\)"):
        NeighborIndex(np.zeros((0, 3)))
