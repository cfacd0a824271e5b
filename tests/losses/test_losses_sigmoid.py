"""Losses of tags against scikit-learn, Keras's own and the papers' formulas in NumPy."""

import keras
import numpy as np
import passes
import pytest
from keras import ops
from sklearn.metrics import log_loss

from visiontasks.losses import sigmoid
from visiontasks.losses.reduction import Term

RNG = np.random.default_rng(0)
LOGITS = (RNG.normal(size=(30, 4)) * 3).astype("float32")
TAGS = RNG.integers(0, 2, (30, 4)).astype("float32")
ALL = np.ones_like(TAGS, bool)
P = 1 / (1 + np.exp(-LOGITS.astype("float64")))


def value(loss):
    return float(ops.convert_to_numpy(loss.mean if isinstance(loss, Term) else loss))


def test_binary_cross_entropy_equals_scikit_learn():
    expected = log_loss(TAGS.ravel(), P.ravel())
    assert value(sigmoid.binary_cross_entropy(TAGS, LOGITS, ALL)) == pytest.approx(expected, rel=1e-5)


def test_positive_weight_counts_positives_that_many_times():
    weights = [1.0, 2.0, 3.0, 0.5]
    expected = -(np.array(weights) * TAGS * np.log(P) + (1 - TAGS) * np.log(1 - P)).mean()
    assert value(sigmoid.binary_cross_entropy(TAGS, LOGITS, ALL, weights)) == pytest.approx(expected, rel=1e-5)


def test_focal_equals_keras():
    expected = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.25, gamma=2.0, from_logits=True)
    assert value(sigmoid.focal(TAGS, LOGITS, ALL)) == pytest.approx(value(expected(TAGS, LOGITS)), rel=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_has_finite_gradients_where_the_probability_is_0_or_1(gamma):
    logits, tags = (ops.convert_to_tensor(np.float32([x])) for x in ([200, -200, 200, -200, 1], [1, 0, 0, 1, 1]))
    value, (gradient,) = passes.gradients(lambda x: ops.sum(sigmoid.focal_elements(tags, x[0], gamma)), [logits])
    p = 1 / (1 + np.exp(-1))
    own = 0.25 * (1 - p) ** gamma * (gamma * p * np.log(p) - (1 - p))  # the last one's
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), [[0, 0, 0.75, -0.25, own]], rtol=1e-4, atol=1e-6)
    assert float(value) == pytest.approx(200 - 0.25 * (1 - p) ** gamma * np.log(p), rel=1e-5)


def test_asymmetric_equals_the_paper():
    shifted = np.maximum(P - 0.05, 0)
    expected = -(TAGS * (1 - P) ** 1 * np.log(P) + (1 - TAGS) * shifted**4 * np.log(1 - shifted)).mean()
    assert value(sigmoid.asymmetric(TAGS, LOGITS, ALL, gamma_positive=1.0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [sigmoid.binary_cross_entropy, sigmoid.focal, sigmoid.asymmetric])
def test_unlabeled_tags_are_as_if_absent_and_extremes_stay_finite(loss):
    tags = TAGS.copy()
    tags[::2, 1] = -1
    some = value(loss(tags, LOGITS, tags >= 0))
    changed = LOGITS.copy()
    changed[::2, 1] = 50
    assert value(loss(tags, changed, tags >= 0)) == some
    assert np.isfinite(value(loss(TAGS, LOGITS * 1e4, ALL)))
    assert value(loss(TAGS, LOGITS, ~ALL)) == 0
