"""One pass over all similarities against loops, scikit-learn, and the index by itself."""

import importlib.util

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from visiontasks.retrieval import index, survey
from visiontasks.retrieval.approximate import ApproximateIndex
from visiontasks.retrieval.features import Features, normalized
from visiontasks.retrieval.index import NeighborIndex
from visiontasks.retrieval.metrics import retrieval_scores


@pytest.fixture
def features(monkeypatch):
    """Overlapping clusters of unequal sizes, some images without a label, in blocks of a few rows."""
    rng = np.random.default_rng(1)
    labels = rng.permutation([0] * 9 + [1] * 20 + [2] * 2 + [4] * 14 + [5] + [-1] * 4).astype(np.int32)
    vectors = normalized(rng.normal(size=(6, 8))[labels] + rng.normal(size=(len(labels), 8)))
    monkeypatch.setattr(index, "BLOCK", 7 * len(labels))
    return Features(vectors, np.arange(len(labels)).astype(str), labels, np.full(len(labels), ""), tuple("abcdef"))


def of_split(features):
    splits = np.where(np.arange(len(features)) % 3, "train", "val")
    return Features(features.vectors, features.paths, features.labels, splits, features.names)


def test_without_splits_each_labeled_image_is_asked_for_without_itself(features):
    found = survey.survey(features, NeighborIndex(features.vectors), k=5)
    known = features.labels >= 0
    vectors, labels, right = features.vectors[known].astype("float64"), features.labels[known], 0
    for query in range(len(labels)):
        order = [i for i in np.argsort(-vectors @ vectors[query], kind="stable") if i != query]
        near = [labels[i] for i in order[:5]]
        right += max(near, key=lambda one: (near.count(one), -near.index(one))) == labels[query]
    expected = {"knn@5": right / len(labels), **retrieval_scores(vectors, labels)}
    assert found.scores == pytest.approx(expected)
    assert found.asked == len(labels) == 46 and not found.validation


@pytest.mark.parametrize("k", [1, 3])
def test_with_splits_training_images_vote_for_validation_images(features, k):
    labels = np.where(features.labels >= 0, features.labels % 2, -1)  # of an odd number of votes for two none are equal
    features = of_split(Features(features.vectors, features.paths, labels, features.splits, ("a", "b")))
    found = survey.survey(features, NeighborIndex(features.vectors), k)
    train, val = ((features.splits == split) & (labels >= 0) for split in ("train", "val"))
    nearest = KNeighborsClassifier(k, metric="cosine").fit(features.vectors[train], labels[train])
    expected = {f"knn@{k}": nearest.score(features.vectors[val], labels[val])}
    assert found.scores == pytest.approx(expected | retrieval_scores(features.vectors[val], labels[val]))
    assert found.validation and found.asked == val.sum()


def test_near_duplicates_are_those_of_the_index_and_need_no_labels(features):
    features = Features(features.vectors, features.paths, np.full(50, -1), features.splits)
    made = NeighborIndex(features.vectors)
    found, expected = survey.survey(features, made, threshold=0.6, most=9), made.near_duplicates(0.6, 9)
    np.testing.assert_array_equal(found.pairs, expected[0])
    np.testing.assert_array_equal(found.similarities, expected[1])
    assert found.count == expected[2] > 9 and found.scores == {}


def test_what_cannot_be_scored_is_left_out(features):
    one_each = Features(features.vectors[:3], features.paths[:3], np.arange(3), features.splits[:3], tuple("abc"))
    assert survey.survey(one_each, NeighborIndex(one_each.vectors)).scores == {"knn@5": 0.0}
    alone = Features(
        one_each.vectors, one_each.paths, np.array([0, 1, 1]), np.array(["train", "train", "val"]), ("a", "b")
    )
    assert survey.survey(alone, NeighborIndex(alone.vectors)).scores.keys() == {"knn@5"}


@pytest.mark.skipif(
    importlib.util.find_spec("usearch") is None, reason="usearch is not installed (the test extra has it)"
)
def test_with_an_approximate_index_scores_are_exact_of_some_images(features, monkeypatch):
    exact = survey.survey(features, NeighborIndex(features.vectors), threshold=0.6)
    found = survey.survey(features, ApproximateIndex(features.vectors), threshold=0.6)
    assert found.scores == pytest.approx(exact.scores) and found.pairs.tolist() == exact.pairs.tolist()
    monkeypatch.setattr(survey, "MOST_ASKED", 10)
    assert survey.survey(features, ApproximateIndex(features.vectors)).asked == 10
