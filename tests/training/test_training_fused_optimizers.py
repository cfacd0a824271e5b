"""The optimizers of one operation a variable are Keras's: weights, state, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visiontasks.training import fused_optimizers
from visiontasks.training.optimizers import optimizer

SHAPES, STEPS = ((3, 3, 4, 8), (8,), (16, 4)), 20
rng = np.random.default_rng(0)
WEIGHTS = [rng.normal(size=shape).astype("float32") for shape in SHAPES]
GRADIENTS = [[rng.normal(size=shape).astype("float32") for shape in SHAPES] for _ in range(STEPS)]
CASES = [
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.1, "global_clipnorm": 1.0, "use_ema": True}),
    ("AdamW", {"amsgrad": True}),
    ("AdamW", {"gradient_accumulation_steps": 3}),
    ("Adam", {"beta_1": 0.8, "epsilon": 1e-3}),
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"clipnorm": 0.5, "weight_decay": 0.1}),
]


def run(made, gradients=GRADIENTS, jit_compile=False):
    """(weights, state, operations of a step) of an optimizer after its steps."""
    variables = [keras.Variable(value) for value in WEIGHTS]
    if made.name == "excluding":
        made.exclude_from_weight_decay([variables[1]])
    made.build(variables)

    @tf.function(jit_compile=jit_compile)
    def step(gradients):
        made.apply(gradients, variables)

    for one in gradients:
        step(one)
    state = [keras.ops.convert_to_numpy(variable) for variable in (*variables, *made.variables)]
    return state, len(step.get_concrete_function(gradients[0]).graph.get_operations())


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_weights_and_state_are_keras_after_20_steps(name, arguments):
    def made(where):
        return getattr(where, name)(keras.optimizers.schedules.CosineDecay(0.01, STEPS), **arguments)

    (ours, operations), (theirs, usual) = run(made(fused_optimizers)), run(made(keras.optimizers))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    if not {"amsgrad", "gradient_accumulation_steps"} & arguments.keys():  # the latter's step is a function of its own
        assert operations < usual


@pytest.mark.parametrize("given", [{"name": "excluding"}, {}], ids=str)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_weight_decay_leaves_out_what_is_excluded_with_xla_too(given, jit_compile):
    ours = run(fused_optimizers.AdamW(0.01, weight_decay=0.5, **given), jit_compile=jit_compile)[0]
    theirs = run(keras.optimizers.AdamW(0.01, weight_decay=0.5, **given))[0]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


def test_a_recipe_has_them():
    assert type(optimizer({"name": "rmsprop"}, {"name": "constant"}, 1, 1)) is keras.optimizers.RMSprop
    made = optimizer({"name": "adamw", "weight_decay": 0.1, "learning_rate": 0.1}, {"name": "constant"}, 1, 1)
    assert type(made) is fused_optimizers.AdamW
    theirs, apart = keras.optimizers.AdamW(weight_decay=0.1), {"learning_rate": None, "name": None}
    assert made.get_config() | apart == theirs.get_config() | apart


@pytest.mark.parametrize("growth", [2, 100])
def test_a_loss_scale_skips_what_is_not_finite(growth):
    bad = [[np.full_like(g, np.inf) for g in GRADIENTS[0]], *GRADIENTS]

    def made(where):
        return keras.optimizers.LossScaleOptimizer(where.AdamW(0.01), 8.0, growth)

    for a, b in zip(run(made(fused_optimizers), bad)[0], run(made(keras.optimizers), bad)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("compiled", [fused_optimizers, keras.optimizers])
def test_a_file_goes_on_training_as_either(compiled, tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile(fused_optimizers.AdamW(0.1), loss="mse")
    x, y = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is fused_optimizers.AdamW
    other = compiled.AdamW(0.1)
    other.build(again.trainable_variables)
    other.set_weights([keras.ops.convert_to_numpy(variable) for variable in again.optimizer.variables])
    again.compile(other, loss="mse")
    for one in (model, again):
        one.fit(x, y, epochs=3, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
