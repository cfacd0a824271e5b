"""Scores of known classes against slow loops and scikit-learn."""

import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.retrieval import metrics
from visiontasks.retrieval.features import normalized


@pytest.fixture
def labeled():
    """Overlapping clusters of unequal sizes, and one class with a single image."""
    rng = np.random.default_rng(1)
    labels = np.array([0] * 9 + [1] * 20 + [2] * 2 + [4] * 14 + [5])
    vectors = normalized(rng.normal(size=(6, 8))[labels] + rng.normal(size=(len(labels), 8)))
    order = rng.permutation(len(labels))
    return vectors[order], labels[order]


def ranked(vectors, query):
    scores = vectors.astype("float64") @ vectors[query].astype("float64")
    return [i for i in np.argsort(-scores, kind="stable") if i != query]


def test_recall_and_map_at_r_are_those_of_a_loop(labeled):
    vectors, labels = labeled
    hits, precisions = {1: [], 2: [], 4: [], 8: []}, []
    for query in range(len(labels)):
        others = (labels == labels[query]).sum() - 1
        if others == 0:
            continue
        same = [labels[i] == labels[query] for i in ranked(vectors, query)]
        for k, hit in hits.items():
            hit.append(any(same[:k]))
        precisions.append(sum(sum(same[: i + 1]) / (i + 1) for i in range(others) if same[i]) / others)
    found = metrics.retrieval_scores(vectors, labels)
    assert found == pytest.approx(
        {**{f"recall@{k}": np.mean(hit) for k, hit in hits.items()}, "map@r": np.mean(precisions)}
    )
    assert 0.2 < found["map@r"] < found["recall@1"] < found["recall@8"] <= 1


def test_the_example_of_the_paper_s_text():
    """Of ten results with R = 10, one right at rank 1 gives 1/10, all right 1."""
    angles = np.linspace(0, 1, 11)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert metrics.retrieval_scores(vectors, np.zeros(11, int))["map@r"] == pytest.approx(1)
    assert np.isnan(metrics.retrieval_scores(vectors, np.arange(11))["map@r"])


def test_labels_that_do_not_fit_are_told(labeled):
    with pytest.raises(UserError, match="labels: expected a label for each"):
        metrics.retrieval_scores(labeled[0], labeled[1][1:])


def test_logistic_regression_learns_what_is_separable_and_no_more():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    vectors = normalized(3 * np.eye(3, 16)[labels] + 0.3 * rng.normal(size=(60, 16)))
    splits = np.where(np.arange(60) < 40, "train", "val")
    assert metrics.logistic_accuracy(vectors, labels) == metrics.logistic_accuracy(vectors, labels, splits) == 1
    assert metrics.logistic_accuracy(vectors, rng.permutation(labels)) < 0.7
    with pytest.raises(UserError, match="two images each"):
        metrics.logistic_accuracy(vectors[:3], labels[:3])
