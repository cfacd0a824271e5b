"""Softmax losses against scikit-learn, Keras's own and a slow NumPy version."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import log_loss

from visiontasks.losses import softmax
from visiontasks.losses.reduction import Term

RNG = np.random.default_rng(0)
LOGITS = (RNG.normal(size=(40, 5)) * 3).astype("float32")
LABELS = np.r_[RNG.integers(0, 5, 37), [-1, -1, -1]].astype("int32")
KNOWN = LABELS >= 0
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


def value(loss):
    return float(ops.convert_to_numpy(loss.mean if isinstance(loss, Term) else loss))


def test_cross_entropy_equals_scikit_learn_over_what_is_labeled():
    expected = log_loss(LABELS[KNOWN], SHARES[KNOWN].astype("float64"), labels=range(5))
    assert value(softmax.cross_entropy(LABELS, LOGITS, KNOWN)) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_equals_keras():
    truth = keras.utils.to_categorical(LABELS[KNOWN], 5)
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)(truth, LOGITS[KNOWN])
    assert value(softmax.cross_entropy(LABELS, LOGITS, KNOWN, 0.1)) == pytest.approx(value(expected), rel=1e-5)


def test_focal_equals_keras():
    truth = keras.utils.to_categorical(LABELS[KNOWN], 5)
    expected = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0)(truth, SHARES[KNOWN])
    assert value(softmax.focal(LABELS, LOGITS, KNOWN)) == pytest.approx(value(expected), rel=1e-4)


def test_dice_equals_a_slow_version_and_skips_absent_classes_and_void():
    logits = RNG.normal(size=(2, 6, 7, 4)).astype("float32")
    mask = RNG.integers(0, 3, (2, 6, 7)).astype("int32")  # class 3 never occurs
    mask[0, :2] = 255
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    per_class = []
    for c in range(3):
        here, p = (mask == c)[mask != 255], shares[..., c][mask != 255]
        per_class.append(1 - 2 * (here * p).sum() / (here.sum() + p.sum()))
    assert value(softmax.dice(mask, logits, mask != 255)) == pytest.approx(np.mean(per_class), rel=1e-5)


@pytest.mark.parametrize("loss", [softmax.cross_entropy, softmax.focal, softmax.dice])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_extreme_logits_and_void_give_finite_losses_and_gradients(loss, scale):
    variable = keras.Variable(RNG.normal(size=(1, 4, 4, 3)).astype("float32") * scale)
    mask = RNG.integers(0, 3, (1, 4, 4)).astype("int32")
    mask[0, 0] = 255
    gradient = gradient_of(lambda: loss(mask, variable, mask != 255).mean, variable)
    assert np.isfinite(gradient).all()
    assert (gradient[0, 0] == 0).all()  # void pixels are not learned


def gradient_of(function, variable):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = function()
        return tape.gradient(loss, variable.value).numpy()
    if keras.backend.backend() == "jax":
        import jax

        def pure(array):
            with keras.StatelessScope([(variable, array)]):
                return function()

        return np.asarray(jax.grad(pure)(variable.value))
    function().backward()
    return variable.value.grad.numpy()
