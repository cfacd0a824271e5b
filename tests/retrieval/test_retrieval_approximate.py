"""ApproximateIndex against the exact one, on few vectors, of which it misses none."""

import importlib.util

import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.retrieval import approximate
from visiontasks.retrieval.approximate import ApproximateIndex
from visiontasks.retrieval.features import normalized
from visiontasks.retrieval.index import NeighborIndex

needs_usearch = pytest.mark.skipif(
    importlib.util.find_spec("usearch") is None, reason="usearch is not installed (the test extra has it)"
)


@pytest.fixture
def vectors(monkeypatch):
    """With copies, opposite vectors and zeros, in blocks of a few rows."""
    rng = np.random.default_rng(0)
    rows = normalized(rng.normal(size=(150, 24)))
    monkeypatch.setattr(approximate, "BLOCK", 20 * 24 * 40)
    return rng.permutation(np.concatenate([rows, rows[:5], -rows[:4], np.zeros((1, 24), np.float32)]))


@needs_usearch
@pytest.mark.parametrize("k", [1, 5, 500])
def test_of_few_vectors_it_finds_what_the_exact_index_does(vectors, k):
    made, exact = ApproximateIndex(vectors), NeighborIndex(vectors)
    for found, expected in (
        (made.neighbors(k), exact.neighbors(k)),
        (made.search(vectors[:1], k), exact.search(vectors[:1], k)),
        (made.search(vectors[:30], k), exact.search(vectors[:30], k)),
    ):
        assert found[0].shape == expected[0].shape
        np.testing.assert_allclose(found[1], expected[1], atol=1e-7)
        same = (found[0] == expected[0]).mean()
        assert same > 0.98  # sums of another order tell equal similarities apart


@needs_usearch
def test_pairs_are_found_once(vectors):
    found, expected = ApproximateIndex(vectors).near_duplicates(0.5), NeighborIndex(vectors).near_duplicates(0.5)
    assert {*map(tuple, found[0].tolist())} == {*map(tuple, expected[0].tolist())} and found[2] == expected[2] > 20
    assert ApproximateIndex(vectors).near_duplicates(0.5, most=3)[0].shape == (3, 2)


@needs_usearch
def test_one_vector_has_no_neighbor_and_bad_arguments_are_told():
    alone = ApproximateIndex(np.ones((1, 3)) / np.sqrt(3))
    assert alone.neighbors(5)[0].shape == (1, 0) and alone.near_duplicates(0.5)[2] == 0
    with pytest.raises(UserError, match="k: expected 1 or more, got 0"):
        alone.search(np.ones((1, 3)), 0)
    with pytest.raises(UserError, match=r"vectors: expected an array \(N, D\)"):
        ApproximateIndex(np.zeros((0, 3)))


@needs_usearch
def test_what_the_graph_does_not_reach_is_compared_with_all(vectors, monkeypatch):
    made, expected = ApproximateIndex(vectors), NeighborIndex(vectors).search(vectors[:4], 3)

    class Lost:
        """A graph of which queries reach two vectors alone."""

        class Found:
            keys, counts = np.zeros((4, 11), np.uint64), np.full(4, 2)

        def search(self, queries, wanted):
            return self.Found()

    monkeypatch.setattr(made, "_graph", Lost())
    found = made.search(vectors[:4], 3)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-7)


def test_without_usearch_the_line_for_pip_is_named(monkeypatch):
    monkeypatch.setattr(approximate, "installed", lambda module: False)
    with pytest.raises(UserError, match=r'index: usearch is not installed: pip install "visiontasks\[usearch\]"'):
        ApproximateIndex(np.eye(3))
