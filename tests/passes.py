"""One pass of a model forward and back, in which rounding can be seen: with which weights, and of what.

Weights are drawn (`condition`) so that rounding stays small enough to be seen through: each convolution's output has
unit variance, and the offset of a normalization, or the bias before an activation, is +2 or −2 by chance, where ReLU is
all but straight; with offsets of 0 each pair of normalization and ReLU multiplies a relative error by 1.21 (G. Yang et
al.: A mean field theory of batch normalization, 2019), 10⁴ over inception_v3.

What jumps cannot be compared through rounding. Choices (proposals, assignment, suppression) are left out: the
functional that is differentiated is a fixed random projection of the heads' outputs before them (`fakes.smooth`). A
ReLU opens or shuts for what is within rounding of 0: in float32 one unit of 10⁵ does now and then, and moves the
gradient of its layer by 1 / √10⁵, more than all roundings together. So the network runs with a smooth function for ReLU
and an average for max pooling (`without_jumps`); ReLU itself is one of the layers above, and trainings have it.
"""

import contextlib

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.ops import max_pooling

LOSS_SCALE = {"mixed_float16": 2.0**7}  # what a loss scale is for: gradients of float16 far from both ends of its range


def leaves(model) -> list:
    """The layers that hold no other layers."""
    return [layer for layer in model._flatten_layers() if not list(layer._flatten_layers(include_self=False))]


@contextlib.contextmanager
def without_jumps():
    """x · sigmoid(x) instead of ReLU and its kin, average pooling instead of max pooling, everywhere in Keras.

    And unpooling that spreads a value over its whole window, wherever the maximum was.
    """
    from keras.src import backend  # the one place that layers, operations and activations all go through

    def silu(x, *args, **kwargs):
        return x * ops.sigmoid(x)

    instead = {"relu": silu, "relu6": silu, "leaky_relu": silu, "max_pool": backend.nn.average_pool}

    def spread(x, positions, size):
        return ops.repeat(ops.repeat(x, size, axis=1), size, axis=2)

    with pytest.MonkeyPatch.context() as patch:
        for name, function in instead.items():
            patch.setattr(backend.nn, name, function)
        patch.setattr(max_pooling, "max_unpool", spread)
        yield


def bent(layer) -> bool:
    """Whether the layer sums products and has an activation inside."""
    inside = getattr(layer, "activation", keras.activations.linear)
    return getattr(layer, "kernel", None) is not None and inside is not keras.activations.linear


@contextlib.contextmanager
def activated(layer, activation):
    """The layer with another activation for a while."""
    own = layer.activation
    layer.activation = activation
    try:
        yield
    finally:
        layer.activation = own


@contextlib.contextmanager
def around(layers, wrap):
    """Each layer's `call` replaced by `wrap(number, layer, call)` for a while."""
    wrapped = [vars(layer).get("call") for layer in layers]  # by one that is around already
    for number, layer in enumerate(layers):
        object.__setattr__(layer, "call", wrap(number, layer, layer.call))
    try:
        yield
    finally:
        for layer, before in zip(layers, wrapped, strict=True):
            object.__delattr__(layer, "call")
            if before:
                object.__setattr__(layer, "call", before)


@contextlib.contextmanager
def behind(layers, change):
    """What each layer gives, before an activation that it has inside, is `change(number, value)` for a while."""

    def changed(number, layer, call):
        return call if bent(layer) else lambda *args, **kwargs: change(number, call(*args, **kwargs))

    with contextlib.ExitStack() as stack:
        stack.enter_context(around(layers, changed))
        for number, layer in enumerate(layers):
            if bent(layer):
                inside = layer.activation
                before = lambda x, number=number, inside=inside: inside(change(number, x))  # noqa: E731
                stack.enter_context(activated(layer, before))
        yield


def gradients(function, values):
    """(value, gradients) of a scalar function of a list of tensors, on each backend."""
    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        values = [tf.convert_to_tensor(value) for value in values]
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(values)
        return result, tape.gradient(result, values, unconnected_gradients="zero")
    if name == "jax":
        import jax

        return jax.value_and_grad(function)([ops.convert_to_tensor(value) for value in values])
    values = [ops.convert_to_tensor(value).detach().clone().requires_grad_() for value in values]
    result = function(values)
    import torch

    return result, torch.autograd.grad(result, values, allow_unused=True, materialize_grads=True)


def with_values(variables, values, function):
    """`function()` with the variables having these values."""
    with keras.StatelessScope(list(zip(variables, values, strict=True))):
        return function()


def condition(model, batch):
    """Draw weights in which rounding stays small: see the top of this file."""
    rng = np.random.default_rng(0)
    for layer in leaves(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.center and layer.trainable:
            layer.beta.assign(2.0 * rng.choice([-1.0, 1.0], layer.beta.shape))

    def scaled(number, layer, call):
        def run(*args, **kwargs):
            y = call(*args, **kwargs)
            kernel = getattr(layer, "kernel", None)
            if kernel is None or number in done:
                return y
            done.add(number)
            if getattr(layer, "use_bias", False):
                y = y - ops.cast(layer.bias, y.dtype)
            scale = float(ops.std(ops.cast(y, "float64")))
            if scale > 0:
                kernel.assign(kernel / scale)
            if bent(layer) and layer.use_bias:
                layer.bias.assign(2.0 * rng.choice([-1.0, 1.0], layer.bias.shape))
            return call(*args, **kwargs)

        return run

    done = set()
    with around(leaves(model), scaled), without_jumps():
        smooth_outputs(model, batch)


def smooth_outputs(model, batch) -> dict:
    """{head and output: tensor} of a forward pass in training, without what the heads choose."""
    outputs, found = model.by_head(model(batch["image"], training=True)), {}
    for name, head in model.heads.items():
        flat = keras.tree.flatten_with_path(fakes.smooth(head, outputs[name], batch))
        found |= {"/".join(map(str, (name, *path))): value for path, value in flat}
    return found


def functional(outputs) -> object:
    """A fixed random projection of the outputs, each output with the same share: smooth, and of order 1."""
    rng, total = np.random.default_rng(1), 0.0
    for name in sorted(outputs):
        value = ops.cast(outputs[name], "float32")
        signs = rng.choice(np.float32([-1, 1]), value.shape) / np.float32(np.sqrt(np.prod(value.shape)))
        total = total + ops.sum(value * signs)
    return total


def one_pass(model, batch, scale=1.0, compiled=False):
    """(outputs, {layer's number: gradient of the functional by its weights, one vector}) of a training pass."""
    unique = _variables(model)

    def run(values):
        kept = {}

        def scalar(values):
            kept.update(with_values(unique, values, lambda: smooth_outputs(model, batch)))
            return functional(kept) * scale

        _, found = gradients(scalar, values) if keras.backend.backend() != "jax" else _jax(scalar, kept, values)
        return kept, found

    values = [v.value for v in unique]
    with without_jumps():
        outputs, found = jitted(run)(values) if compiled else run(values)
    return _arrays(model, outputs, unique, found, scale)


def _variables(model):
    variables = [v for layer in leaves(model) for v in layer.trainable_variables]
    return list({id(v): v for v in variables}.values())


def _arrays(model, outputs, unique, found, scale=1.0):
    by_variable = {id(v): g for v, g in zip(unique, found, strict=True)}
    vectors = {}
    for number, layer in enumerate(leaves(model)):
        parts = [by_variable[id(v)] for v in layer.trainable_variables]
        if parts:
            flat = [np.ravel(ops.convert_to_numpy(ops.cast(g, "float64"))) for g in parts]
            vectors[number] = np.concatenate(flat) / scale
    return {key: ops.convert_to_numpy(ops.cast(value, "float64")) for key, value in outputs.items()}, vectors


def pass_with_cotangents(model, batch):
    """(`one_pass`, {layer's number: gradient of the functional by what it gives `behind` it, the first time})."""
    import tensorflow as tf  # whose pass is the reference of every backend

    unique, given = _variables(model), {}
    values = [tf.convert_to_tensor(v.value) for v in unique]
    with tf.GradientTape() as tape, without_jumps():
        tape.watch(values)

        def seen(number, y):
            if number in given or keras.tree.is_nested(y) or not y.dtype.is_floating:
                return y
            given[number] = tf.identity(y)  # of a layer that gives its input as it is
            tape.watch(given[number])
            return given[number]

        with behind(leaves(model), seen):
            outputs = with_values(unique, values, lambda: smooth_outputs(model, batch))
        result = functional(outputs)
    found, cotangents = tape.gradient(result, (values, list(given.values())), unconnected_gradients="zero")
    return _arrays(model, outputs, unique, found), dict(zip(given, map(ops.convert_to_numpy, cotangents), strict=True))


def pulled_back(function, values, cotangents):
    """(what a function of tensors gives, for each cotangent of that the gradients of the tensors)."""
    import tensorflow as tf  # in which layers are compared

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        y = function(values)
    given = (tf.cast(cotangent, y.dtype) for cotangent in cotangents)
    return y, [tape.gradient(y, values, one, unconnected_gradients="zero") for one in given]


def _jax(scalar, kept, values):
    import jax

    def pure(values):
        return scalar(values), dict(kept)

    (result, outputs), found = jax.value_and_grad(pure, has_aux=True)(values)
    kept.clear()
    kept.update(outputs)
    return result, found


def jitted(function):
    """The function compiled by XLA; as it is with PyTorch, which has none."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if keras.backend.backend() == "torch":
        return function
    import jax

    return jax.jit(function)


def followed(function, argument):
    """Call a function for what it calls; JAX, which would compile each operation alone, computes nothing."""
    if keras.backend.backend() != "jax":
        return function(argument)
    import jax

    return jax.eval_shape(function, argument)
