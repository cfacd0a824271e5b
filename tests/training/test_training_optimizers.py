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
    made = optimizer({"name": name, "learning_rate": 0.1}, CONSTANT, 10, 10, factors={slow.path: 0.1})
    made.build([fast, slow])
    gradient = keras.ops.convert_to_tensor(np.array([1.0, 2.0, -3.0], "float32"))
    made.apply([gradient, gradient], [fast, slow])
    moved_fast, moved_slow = 1 - np.asarray(fast.numpy()), 1 - np.asarray(slow.numpy())
    np.testing.assert_allclose(moved_slow, 0.1 * moved_fast, rtol=1e-3)


def test_arguments_reach_keras_and_the_default_rate_is_keras_own():
    made = optimizer({"name": "SGD", "momentum": 0.9}, CONSTANT, 10, 10, clip_norm=1.0, ema=0.99)
    assert (made.momentum, made.global_clipnorm, made.use_ema, made.ema_momentum) == (0.9, 1.0, True, 0.99)
    assert float(made.learning_rate) == pytest.approx(0.01)


def test_layer_decay_slows_each_level_by_the_factor():
    from visiontasks.backbones.unet_encoder import unet_encoder
    from visiontasks.recipe.schema import FreezeRecipe, TrainRecipe
    from visiontasks.training.fit import rate_factors

    backbone = unet_encoder(filters=2, depth=3)
    assert set(rate_factors(backbone, TrainRecipe()).values()) == {1.0}
    factors = rate_factors(backbone, TrainRecipe(layer_decay=0.5, freeze=FreezeRecipe(epochs=1, factor=0.8)))
    by_level = {}
    for path, factor in factors.items():
        by_level.setdefault(path.split("/")[-2][:6], set()).add(round(factor, 6))
    assert by_level == {"level0": {0.2}, "level1": {0.4}, "level2": {0.8}}
    assert set(factors) == {v.path for v in backbone.trainable_variables}


def test_a_gate_learns_as_fast_as_what_it_gates(without_weights):
    from visiontasks import api
    from visiontasks.recipe.schema import TrainRecipe
    from visiontasks.training.fit import rate_factors

    backbone = api.backbone("efficientnet_b0", input_shape=(64, 64, 3))
    factors = rate_factors(backbone, TrainRecipe(layer_decay=0.5))
    by_layer = {path.split("/")[-2]: round(factor, 6) for path, factor in factors.items()}
    assert by_layer["block1a_se_reduce"] == by_layer["block1a_dwconv"] == 0.5**4
    assert by_layer["block6a_se_expand"] == by_layer["block6a_dwconv"] == 1.0


def test_three_rates_move_three_variables_so_far():
    variables = [keras.Variable(np.ones(2, "float32"), name=n) for n in "abc"]
    made = optimizer(
        {"name": "sgd", "learning_rate": 0.1},
        CONSTANT,
        10,
        10,
        factors={variables[1].path: 0.5, variables[2].path: 0.25},
    )
    made.build(variables)
    made.apply([keras.ops.ones(2)] * 3, variables)
    np.testing.assert_allclose([1 - float(v[0]) for v in variables], [0.1, 0.05, 0.025], rtol=1e-5)
