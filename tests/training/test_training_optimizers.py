"""Optimizers by name; a slower group really moves that much slower."""

import keras
import numpy as np
import pytest

from visiontasks.training.optimizers import optimizer

CONSTANT = {"name": "constant"}


@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop"])
def test_slow_variables_move_by_the_factor(name):
    """Two equal variables with equal gradients: after one update the slow one has moved by a tenth."""
    fast, slow = (keras.Variable(np.ones(3, "float32"), name=n) for n in ("fast", "slow"))
    made = optimizer({"name": name, "learning_rate": 0.1}, CONSTANT, 10, 10, slow=[slow], factor=0.1)
    made.build([fast, slow])
    gradient = keras.ops.convert_to_tensor(np.array([1.0, 2.0, -3.0], "float32"))
    made.apply([gradient, gradient], [fast, slow])
    moved_fast, moved_slow = 1 - np.asarray(fast.numpy()), 1 - np.asarray(slow.numpy())
    np.testing.assert_allclose(moved_slow, 0.1 * moved_fast, rtol=1e-3)


def test_arguments_reach_keras_and_the_default_rate_is_keras_own():
    made = optimizer({"name": "SGD", "momentum": 0.9}, CONSTANT, 10, 10, clip_norm=1.0, ema=0.99)
    assert (made.momentum, made.global_clipnorm, made.use_ema, made.ema_momentum) == (0.9, 1.0, True, 0.99)
    assert float(made.learning_rate) == pytest.approx(0.01)
