"""Classification metrics against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from visiontasks.errors import DataError
from visiontasks.evaluation.metrics.classification import Classification
from visiontasks.sample import Sample

IMAGE = np.zeros((1, 1, 3), np.uint8)


def score(labels, scores):
    metric = Classification([f"c{i}" for i in range(scores.shape[1])])
    for label, row in zip(labels, scores, strict=True):
        metric.update(Sample(image=IMAGE, label=label), {"scores": row})
    return metric


@settings(max_examples=60)
@given(st.integers(2, 12), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_equals_scikit_learn(classes, count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    scores = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    metric = score(labels, scores)
    result, guesses = metric.result(), scores.argmax(axis=1)

    assert result["top1"] == pytest.approx(accuracy_score(labels, guesses))
    assert (metric.confusion.counts == confusion_matrix(labels, guesses, labels=range(classes))).all()
    if classes > 5:
        expected = top_k_accuracy_score(labels, scores, k=5, labels=range(classes))
        assert result["top5"] == pytest.approx(expected)
    else:
        assert "top5" not in result

    occurring = np.union1d(labels, guesses)
    expected = precision_recall_fscore_support(labels, guesses, labels=occurring, zero_division=0)[:3]
    for figure, values in zip(("precision", "recall", "f1"), expected, strict=True):
        assert result[figure] == pytest.approx(values.mean())
        own = np.array([result[f"{figure}/c{i}"] for i in range(classes)])
        assert own[occurring] == pytest.approx(values)
        assert np.isnan(np.delete(own, occurring)).all()


def test_equal_scores_give_no_more_than_guessing():
    """A network that says nothing must not be in the top 5 by ties."""
    result = score(np.arange(10), np.full((10, 10), 0.1, np.float32)).result()
    assert result["top1"] == pytest.approx(0.1)
    assert result["top5"] == pytest.approx(0.5)


def test_unlabeled_images_count_nothing():
    metric = score([0, 1, 1], np.eye(3, dtype=np.float32)[[0, 1, 2]])
    before = metric.result()
    metric.update(Sample(image=IMAGE), {"scores": np.array([1, 0, 0], np.float32)})
    metric.update(Sample(image=IMAGE, label=-1), {"scores": np.array([1, 0, 0], np.float32)})
    assert metric.result() == before


def test_without_images_everything_is_nan():
    assert np.isnan(list(score([], np.zeros((0, 7))).result().values())).all()


def test_a_label_beyond_the_classes_is_named():
    with pytest.raises(DataError, match=r"cat7: expected classes 0\.\.2, got 3"):
        Classification("abc").update(Sample(image=IMAGE, label=3, id="cat7"), {"scores": np.zeros(3)})


def test_scores_for_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match=r"scores: expected \(3,\)"):
        Classification("abc").update(Sample(image=IMAGE, label=0), {"scores": np.zeros(4)})
