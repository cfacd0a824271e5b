"""Segmentation metrics against scikit-learn, and item 49: void counts nowhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score, recall_score

from visiontasks.errors import DataError
from visiontasks.evaluation.metrics import segmentation
from visiontasks.evaluation.metrics.segmentation import Segmentation
from visiontasks.sample import VOID, Sample


def score(classes, pairs):
    metric = Segmentation([f"c{i}" for i in range(classes)])
    for target, predicted in pairs:
        metric.update(Sample(image=np.zeros((*target.shape, 3), np.uint8), mask=target), {"mask": predicted})
    return metric


def scenes(rng, classes, count, void):
    """Images of several sizes, each showing some of the classes, predicted right in about two thirds."""
    for _ in range(count):
        size, present = rng.integers(1, 12, 2), rng.integers(0, classes, 3)
        target = rng.choice(present, size).astype(np.int32)
        predicted = np.where(rng.random(size) < 0.6, target, rng.integers(0, classes, size)).astype(np.int32)
        target[rng.random(size) < void] = VOID
        yield target, predicted


@pytest.mark.filterwarnings("ignore:A single label was found")  # one class is a case too
@settings(max_examples=60)
@given(st.integers(1, 8), st.integers(1, 5), st.sampled_from([0, 0.3]), st.integers(0, 2**32 - 1))
def test_equals_scikit_learn(classes, count, void, seed):
    pairs = list(scenes(np.random.default_rng(seed), classes, count, void))
    metric = score(classes, pairs)
    result = metric.result()
    target = np.concatenate([t.ravel() for t, _ in pairs])
    predicted = np.concatenate([p.ravel() for _, p in pairs])[target != VOID]
    target = target[target != VOID]
    if not target.size:
        assert np.isnan(list(result.values())).all()
        return

    assert (metric.confusion.counts == confusion_matrix(target, predicted, labels=range(classes))).all()
    assert result["pixel_accuracy"] == pytest.approx(accuracy_score(target, predicted))
    occurring = np.union1d(target, predicted)
    for figure, mean, reference in (("iou", "mean_iou", jaccard_score), ("dice", "dice", f1_score)):
        expected = reference(target, predicted, labels=occurring, average=None, zero_division=0)
        own = np.array([result[f"{figure}/c{i}"] for i in range(classes)])
        assert own[occurring] == pytest.approx(expected)
        assert np.isnan(np.delete(own, occurring)).all()
        assert result[mean] == pytest.approx(expected.mean())
    expected = recall_score(target, predicted, labels=range(classes), average=None, zero_division=np.nan)
    assert [result[f"accuracy/c{i}"] for i in range(classes)] == pytest.approx(list(expected), nan_ok=True)


def test_void_counts_nowhere():
    """Whatever is predicted on void, even void itself, changes no figure; nor does an image that is all void."""
    rng = np.random.default_rng(0)
    target, predicted = next(scenes(rng, 4, 1, 0.4))
    reference = score(4, [(target, predicted)])
    for wrong in (0, 3, VOID):
        changed = np.where(target == VOID, wrong, predicted)
        empty = (np.full((3, 5), VOID, np.int32), np.full((3, 5), wrong, np.int32))
        again = score(4, [(target, changed), empty])
        assert (again.confusion.counts == reference.confusion.counts).all()
        np.testing.assert_equal(again.result(), reference.result())
    assert reference.confusion.counts.sum() == (target != VOID).sum() < target.size


def test_an_image_of_many_blocks_counts_every_pixel_once(monkeypatch):
    rng = np.random.default_rng(1)
    target, predicted = rng.integers(0, 3, (2, 37, 41)).astype(np.int32)
    target[:5] = VOID
    whole = score(3, [(target, predicted)]).confusion.counts
    monkeypatch.setattr(segmentation, "BLOCK", 64)
    assert (score(3, [(target, predicted)]).confusion.counts == whole).all()


def test_counts_beyond_32_bits():
    """Ten thousand images of a megapixel are more pixels than int32 holds."""
    metric = score(2, [(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int32))])
    metric.confusion.counts[0, 0] = 2**33
    metric.confusion.counts[0, 1] = 2**33
    assert metric.result()["iou/c0"] == 0.5


def test_unlabeled_images_count_nothing():
    metric = score(2, [])
    metric.update(Sample(image=np.zeros((2, 2, 3), np.uint8)), {"mask": np.ones((2, 2), np.int32)})
    assert metric.confusion.counts.sum() == 0


@pytest.mark.parametrize(("target", "predicted", "culprit"), [(3, 0, "mask of"), (0, 255, "mask pre")])
def test_classes_out_of_range_are_named(target, predicted, culprit):
    masks = [np.full((2, 2), value, np.int32) for value in (target, predicted)]
    with pytest.raises(DataError, match=rf"^{culprit}.*expected classes 0\.\.2"):
        score(3, [masks])


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"expected \(2, 3\) as the target mask, got \(3, 2\)"):
        score(2, [(np.zeros((2, 3), np.int32), np.zeros((3, 2), np.int32))])
