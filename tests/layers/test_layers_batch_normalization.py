"""Our batch normalization is Keras's: outputs, gradients, statistics, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visiontasks.layers.batch_normalization import BatchNormalization, fuse

KERAS = keras.layers.BatchNormalization
SHAPE = (4, 6, 5, 8)
# a bfloat16 has 8 bits of precision, a float16 has 11; Keras rounds the result of its float32 arithmetic once, as we do
ROUNDING = {"float32": 1e-5, "mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}
PURE = {"float16": 2e-3, "bfloat16": 2e-2}  # weights and statistics too


def steps(cls, policy="float32", shape=SHAPE, training=True, jit_compile=False, mask=None, **arguments):
    """(outputs, gradients of x and of the weights, statistics) of a layer after three steps."""
    rng = np.random.default_rng(0)
    layer = cls(momentum=0.9, dtype=policy, **arguments)
    layer.build(shape)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(1, 0.5, variable.shape))

    @tf.function(jit_compile=jit_compile)
    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training, mask=mask)
        weights = [variable.value for variable in layer.trainable_variables]
        return y, tape.gradient(y, [x, *weights], dy)

    for _ in range(3):
        x = tf.cast(rng.normal(2, 3, shape), layer.compute_dtype)
        y, gradients = step(x, tf.cast(rng.normal(size=shape), layer.compute_dtype))
    assert y.dtype == layer.compute_dtype
    as_float = [tf.cast(value, "float32").numpy() for value in (y, *gradients)]
    return as_float, [tf.cast(variable.value, "float32").numpy() for variable in layer.non_trainable_variables]


def assert_equal(ours, theirs, tolerance, statistics=1e-6):
    for a, b in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=statistics, atol=statistics)


@pytest.mark.parametrize(
    ("given", "operation"),
    [
        ({"training": True}, True),
        ({"training": True, "trainable": False}, True),
        ({"training": False}, False),
        ({"training": True, "axis": 1}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_where_the_operation_is_used(given, operation, jit_compile):
    """In training without XLA; otherwise the tests below would compare Keras's layer with itself."""
    arguments = dict(given)
    training = arguments.pop("training")
    layer = BatchNormalization(**arguments)
    traced = tf.function(lambda x: layer(x, training=training), jit_compile=jit_compile)
    graph = traced.get_concrete_function(tf.TensorSpec(SHAPE, "float32")).graph
    assert any(one.type == "FusedBatchNormV3" for one in graph.get_operations()) == (operation and not jit_compile)


@pytest.mark.parametrize("policy", ROUNDING)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("arguments", [{}, {"scale": False}, {"center": False}, {"trainable": False}], ids=str)
def test_a_step_is_keras_step(policy, training, arguments):
    given = {"policy": policy, "training": training, **arguments}
    assert_equal(steps(BatchNormalization, **given), steps(KERAS, **given), ROUNDING[policy])


@pytest.mark.parametrize(
    "given",
    [
        {"shape": (4, 8)},
        {"shape": (4, 6, 8)},
        {"axis": 1},
        {"axis": 3},
        {"renorm": True},
        {"policy": "float64"},
        {"mask": np.arange(4 * 6 * 5).reshape(4, 6, 5) % 3 > 0},
    ],
    ids=str,
)
def test_what_the_operation_cannot_do_is_keras_own(given):
    assert_equal(steps(BatchNormalization, **given), steps(KERAS, **given), 1e-5)


@pytest.mark.parametrize("policy", PURE)
def test_weights_in_half_precision(policy):
    given = {"policy": policy}
    assert_equal(steps(BatchNormalization, **given), steps(KERAS, **given), PURE[policy], statistics=PURE[policy])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_channels_of_almost_one_value(jit_compile):
    """A variance that is tiny beside the mean, such as a dark image's: no NaN, and none that rounding made."""
    layer = BatchNormalization(momentum=0.0)
    mean, deviation = np.array([3.7, 100, 1000, -1000]), np.array([0, 1, 1, 0.5])
    x = (mean + deviation * np.random.default_rng(0).normal(size=(8, 16, 16, 4))).astype("float32")
    y = tf.function(lambda x: layer(x, training=True), jit_compile=jit_compile)(x)
    exact = x.astype("float64")
    np.testing.assert_allclose(layer.moving_variance, exact.var((0, 1, 2)), rtol=1e-3, atol=1e-6)
    expected = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + layer.epsilon)
    np.testing.assert_allclose(y, expected, atol=5e-3)


@pytest.mark.parametrize("training", [True, False])
def test_xla_computes_the_same(training):
    given = {"training": training}
    assert_equal(steps(BatchNormalization, jit_compile=True, **given), steps(KERAS, **given), 1e-5)


def test_one_value_a_channel_has_no_variance():
    given = {"shape": (1, 1, 1, 8)}
    assert_equal(steps(BatchNormalization, **given), steps(KERAS, **given), 1e-5)


def network(cls):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    return keras.Model(inputs, cls(name="norm")(x), name="network")


@pytest.mark.parametrize(("saved", "loaded"), [(KERAS, BatchNormalization), (BatchNormalization, KERAS)])
def test_files_of_weights_are_interchangeable(saved, loaded, tmp_path):
    first, second = network(saved), network(loaded)
    first.set_weights([np.random.default_rng(i).uniform(1, 2, w.shape) for i, w in enumerate(first.get_weights())])
    first.save_weights(tmp_path / "model.weights.h5")
    second.load_weights(tmp_path / "model.weights.h5")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(first(x), second(x), rtol=1e-5, atol=1e-5)


def test_a_model_is_fused_in_place_and_saved_as_ours(tmp_path):
    class Subclass(KERAS):
        """Somebody's own: what it changes must not be lost."""

    inner = network(KERAS)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, Subclass(name="own")(inner(inputs)))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    before, paths = model(x, training=True), [variable.path for variable in model.variables]
    inner.get_layer("norm").set_weights([np.ones(4), np.zeros(4), np.zeros(4), np.ones(4)])
    assert fuse(model) is model
    assert [type(layer) for layer in (inner.get_layer("norm"), model.get_layer("own"))] == [
        BatchNormalization,
        Subclass,
    ]
    assert [variable.path for variable in model.variables] == paths
    np.testing.assert_allclose(model(x, training=True), before, rtol=1e-5, atol=1e-5)
    inner.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.get_layer("norm")) is BatchNormalization
    np.testing.assert_allclose(again(x), inner(x), rtol=1e-6)
