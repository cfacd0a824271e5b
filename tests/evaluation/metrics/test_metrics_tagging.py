"""Tagging metrics against scikit-learn."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from visiontasks.evaluation.metrics.tagging import Tagging
from visiontasks.sample import Sample

IMAGE = np.zeros((1, 1, 3), np.uint8)


def score(tags, scores):
    metric = Tagging([f"t{i}" for i in range(tags.shape[1])])
    for row, predicted in zip(tags, scores, strict=True):
        metric.update(Sample(image=IMAGE, tags=row), {"scores": predicted})
    return metric.result()


def column(result, figure, count):
    return np.array([result[f"{figure}/t{i}"] for i in range(count)])


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(1, 60), st.sampled_from([3, 10, 10**6]), st.integers(0, 2**32 - 1))
def test_equals_scikit_learn(tags, count, levels, seed):
    """Few levels make many equal scores; -1 marks what nobody labeled."""
    rng = np.random.default_rng(seed)
    target = rng.choice([-1, 0, 1], (count, tags), p=[0.2, 0.5, 0.3]).astype(np.float32)
    scores = (rng.integers(0, levels, (count, tags)) / levels).astype(np.float32)
    result = score(target, scores)

    known, guesses, references = [], [], {"ap": [], "f1": []}
    for i in range(tags):
        labeled = target[:, i] >= 0
        mine, given_scores = target[labeled, i], scores[labeled, i]
        if not mine.sum():
            assert all(np.isnan(result[f"{figure}/t{i}"]) for figure in ("ap", "f1", "threshold"))
            continue
        references["ap"].append(average_precision_score(mine, given_scores))
        assert result[f"ap/t{i}"] == pytest.approx(references["ap"][-1])

        precision, recall, _ = precision_recall_curve(mine, given_scores)
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            best = np.nanmax(2 * precision * recall / (precision + recall))
        at_threshold = given_scores >= result[f"threshold/t{i}"]
        references["f1"].append(best)
        assert result[f"f1/t{i}"] == pytest.approx(best)
        assert f1_score(mine, at_threshold) == pytest.approx(best)
        known.append(mine)
        guesses.append(at_threshold)

    if known:
        assert result["map"] == pytest.approx(np.mean(references["ap"]))
        assert result["f1"] == pytest.approx(np.mean(references["f1"]))
        assert result["f1_micro"] == pytest.approx(f1_score(np.concatenate(known), np.concatenate(guesses)))
    else:
        assert np.isnan([result["map"], result["f1"], result["f1_micro"]]).all()


def test_a_perfect_ranking_scores_one():
    tags = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.float32)
    result = score(tags, 0.2 + 0.1 * tags)
    assert result["map"] == result["f1"] == result["f1_micro"] == 1
    assert column(result, "threshold", 2) == pytest.approx([0.3, 0.3])


def test_images_without_any_tag_count():
    """No tag present is a label: a high score is then a mistake."""
    tags = np.array([[1], [0], [0]], np.float32)
    right, wrong = (np.array(s, np.float32)[:, None] for s in ([0.9, 0.1, 0.2], [0.9, 0.1, 0.95]))
    assert score(tags, right)["map"] == 1
    assert score(tags, wrong)["map"] == 0.5


def test_unlabeled_images_count_nothing():
    metric = Tagging("ab")
    metric.update(Sample(image=IMAGE, tags=np.array([1, 0], np.float32)), {"scores": np.array([0.8, 0.3])})
    before = metric.result()
    metric.update(Sample(image=IMAGE), {"scores": np.array([0.9, 0.9])})
    metric.update(Sample(image=IMAGE, tags=np.array([-1, -1], np.float32)), {"scores": np.array([0.9, 0.9])})
    np.testing.assert_equal(metric.result(), before)


def test_without_images_everything_is_nan():
    assert np.isnan(list(Tagging("ab").result().values())).all()


@pytest.mark.parametrize(("tags", "scores", "culprit"), [(2, 3, "tags"), (3, 2, "scores")])
def test_another_number_of_tags_is_refused(tags, scores, culprit):
    with pytest.raises(ValueError, match=rf"{culprit} of p1: expected \(3,\)"):
        Tagging("abc").update(Sample(image=IMAGE, tags=np.zeros(tags), id="p1"), {"scores": np.zeros(scores)})
