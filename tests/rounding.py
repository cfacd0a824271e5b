"""What rounding may do to a network: each layer, and the whole, against the same network in float64.

Nothing here follows a training. A random network amplifies a rounding error from step to step, so that the losses of
two correct processors drift apart; one forward and one backward pass from the same weights do not.

Two comparisons, both with bounds that were stated before anything was measured. u is the unit roundoff of a layer's
compute dtype: 2⁻⁸ for bfloat16, 2⁻¹¹ for float16, 2⁻²⁴ for float32.

**One layer** (`layer_errors`). Every layer gets the inputs that it had in the network and the weights that it holds;
its twin in float64 gets the same inputs. Their outputs and, for a random cotangent, the gradients of inputs and weights
may differ by (4 + √n) u of their root mean square, n being the number of terms of a sum: 4 for the roundings
that one value meets outside its sum (weights, output, activation, cotangent), and √n for a sum accumulated in the dtype
itself: the partial sums of n terms of random sign grow as √k, each rounding adds u of one, and the errors are
independent (N. J. Higham, T. Mary: A new approach to probabilistic rounding error analysis, 2019). Hardware that
accumulates in float32 stays far below. Of errors that are independent the mean over a channel's N positions is √N times
smaller, and so is its bound. Normalization layers subtract a mean from a mean of squares in float32: they may add
2⁻²⁴ √n times the condition number of that difference, E[x²] / Var[x]. A layer with an activation inside is compared
before it: the activation's slope is that of a rounded sum. Of equal values max pooling gives one the whole gradient,
so that its gradient is not compared. Of layers of one kind one is compared, but in float32 every one with weights.

**The whole network** (`expected`). The float64 network is run again with rounded weights and with noise as large as
each layer's own error was found to be, or u where that is more: behind a layer on the way there, before it on the way
back. On the way back that error is the one for the cotangent that the layer gets in the network, for its terms are not
of random sign there: all positions of an image may have one slope. The part of it that all positions of a channel share
is noise of its own (a batch norm subtracts a mean that was rounded once), because the sums of the next layer make √N
times as much of it; it is at most what the bound above leaves to a mean, and what float32 makes of a sum of N terms of
one sign. What all this does to outputs and gradients is what the network itself makes of rounding. A precision may be
off by 8 times as much, layer by layer: the norm of one error over that of two draws of noise exceeds 8 once in 10⁵ if
it has four directions (Fisher's F with 4 and 8 degrees of freedom). The median of eight or more has no such tail: 2
times as much. Of an output that must stay below 1 to say anything. In a deep network in bfloat16 the noise of the first
layers' gradients is as large as they are: of those only the layers' own bounds say something. Errors that do not come
from rounding layers (coordinates in half precision, a value that overflows) are not in the noise.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os

import keras
import numpy as np
from keras import ops
from passes import (
    activated,
    around,
    behind,
    bent,
    leaves,
    one_pass,
    pulled_back,
    smooth_outputs,
    with_values,
    without_jumps,
)

UNIT = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
OWN_ROUNDINGS, OF_ONE, OF_MEDIAN, DRAWS = 4, 8, 2, 2
CHOOSES = (keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D)  # of equal values one gets the whole gradient


@dataclasses.dataclass
class Checked:
    """An error and its bound, with the name of what was compared."""

    what: str
    error: float
    bound: float


def report(test: str, checks: list[Checked]):
    """Fail where an error exceeds its bound; write the largest shares to the file that MARGINS names, if any."""
    if not checks:
        return
    worst = max(checks, key=lambda check: check.error / check.bound)
    if path := os.environ.get("MARGINS"):
        line = {"test": test, "checks": len(checks), "share": worst.error / worst.bound, **dataclasses.asdict(worst)}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    wrong = [check for check in checks if not check.error <= check.bound]  # NaN is wrong
    assert not wrong, f"{len(wrong)} of {len(checks)}, such as {wrong[:5]}"


def relative(value, expected) -> float:
    """Root mean square of the difference, as a share of that of what is expected; 0 where both are 0."""
    value, expected = (np.asarray(ops.convert_to_numpy(ops.cast(x, "float64"))) for x in (value, expected))
    away, size = np.linalg.norm(value - expected), np.linalg.norm(expected)
    return float(away / size) if size else float(away)


def name_of(layer) -> str:
    return f"{(layer.path or '').partition('/')[2] or layer.name} ({type(layer).__name__})"


@dataclasses.dataclass
class Local:
    """One layer's own errors.

    Attributes:
        checks: its errors with their bounds.
        output: of its output, as a share of root mean square, at least the unit roundoff.
        inputs: likewise of its inputs' gradient for the network's cotangent: (error of single values, error that all
            positions of a channel share).
        weights: likewise of its weights' gradient.
    """

    checks: list[Checked]
    output: float
    inputs: tuple[float, float]
    weights: float


def layer_errors(model, batch, cotangents) -> dict[int, Local]:
    """{layer's number: Local} for every layer of the model, each fed with what it gets in a training pass.

    Args:
        cotangents: of the network, from `passes.pass_with_cotangents`.
    """
    seen = {}

    def recorded(number, layer, call):
        def run(*args, **kwargs):
            seen.setdefault(number, (args, kwargs))
            return call(*args, **kwargs)

        return run

    layers = leaves(model)
    with around(layers, recorded), without_jumps():
        smooth_outputs(model, batch)
    found, by_kind = {}, {}
    for number, (args, kwargs) in seen.items():
        cotangent = cotangents.get(number)
        cotangent = None if cotangent is None or not cotangent.any() else cotangent  # the functional does not see it
        kind = _kind(layers[number], args, kwargs), cotangent is None
        if kind not in by_kind:
            by_kind[kind] = _local(layers[number], args, kwargs, cotangent)
        if by_kind[kind]:
            found[number] = by_kind[kind]
    return found


def _kind(layer, args, kwargs):
    """What layers have in common that run the same code on arrays of the same form: one of them is compared."""
    if layer.compute_dtype == "float32" and layer.trainable_weights:
        return id(layer)  # how much its sums cancel is its own, and more than the last bit
    try:
        config = {key: value for key, value in layer.get_config().items() if not key.startswith("name")}
    except NotImplementedError:
        config = id(layer)
    forms = keras.tree.map_structure(lambda x: getattr(x, "shape", x), args)
    return repr((type(layer), config, forms, sorted(kwargs)))


def _local(layer, args, kwargs, cotangent):
    flat = keras.tree.flatten(args)
    if any(isinstance(x, keras.KerasTensor) or not hasattr(x, "dtype") for x in flat):
        return None
    try:
        config = {key: value for key, value in layer.get_config().items() if not key.endswith("_initializer")}
        twin = type(layer).from_config({**config, "dtype": "float64"})
    except NotImplementedError:  # part of a network that is rebuilt as a whole; what has weights has a config
        assert not layer.weights, layer
        return None
    exact = keras.tree.map_structure(_float64, args)
    twin(*exact, **kwargs)
    twin.set_weights(layer.get_weights())
    if hasattr(twin, "finalize_state"):  # of Keras's Normalization: its constants from its weights
        twin.finalize_state()
    with contextlib.ExitStack() as stack:
        for one in (layer, twin) if bent(layer) else ():
            stack.enter_context(activated(one, keras.activations.linear))
        y = layer(*args, **kwargs)
        if not keras.tree.is_nested(y) and "float" in keras.backend.standardize_dtype(y.dtype):
            y = ops.convert_to_numpy(ops.cast(y, "float64"))
            return _compared(layer, twin, args, exact, kwargs, y, cotangent)
    return None


def _float64(x):
    return ops.cast(x, "float64") if "float" in keras.backend.standardize_dtype(x.dtype) else x


def _compared(layer, twin, args, exact, kwargs, y, cotangent):
    unit, name = UNIT[layer.compute_dtype], name_of(layer)
    # of ±1 all values of a channel would be rounded alike
    random = np.float64(_rounded(np.random.default_rng(2).standard_normal(y.shape), layer.compute_dtype))
    if cotangent is None:
        cotangent = random
    # of norm 1 no sum of its values with any signs exceeds √size, far below what float16 holds
    cotangent = cotangent / np.linalg.norm(cotangent)
    sizes, kernel = (
        [np.prod(x.shape) for x in keras.tree.flatten(args)],
        sum(np.prod(w.shape) for w in layer.trainable_weights if len(w.shape) > 1),
    )
    last = keras.tree.flatten(args)[0].shape[-1]
    terms = (
        max(kernel / y.shape[-1], max(sizes) / y.size, 1.0),
        max(kernel / last, y.size / min(sizes), 1.0),  # of an input that is broadcast, over all that it reaches
        float(y.size / y.shape[-1]),
    )
    statistics = 0.0
    if isinstance(layer, keras.layers.BatchNormalization):
        x = ops.convert_to_numpy(ops.cast(exact[0], "float64")).reshape(-1, last)
        variance = np.maximum(x.var(axis=0), layer.epsilon)
        statistics = UNIT["float32"] * np.sqrt(len(x)) * float(np.max((x**2).mean(axis=0) / variance))

    def bound(n):
        return (OWN_ROUNDINGS + np.sqrt(n)) * unit + statistics

    movable = [i for i, x in enumerate(keras.tree.flatten(args)) if "float" in keras.backend.standardize_dtype(x.dtype)]

    def slopes(made, inputs):
        """(output, for either cotangent the gradients of inputs and weights)."""
        variables = list(made.trainable_variables)
        flat = keras.tree.flatten(inputs)

        def output(values):
            moved = list(flat)
            for i, value in zip(movable, values, strict=False):
                moved[i] = value
            given = keras.tree.pack_sequence_as(inputs, moved)
            return with_values(variables, values[len(movable) :], lambda: made(*given, **kwargs))

        values = [ops.convert_to_tensor(flat[i]) for i in movable] + [ops.convert_to_tensor(v.value) for v in variables]
        out, both = pulled_back(output, values, (random, cotangent))
        both = [[ops.convert_to_numpy(ops.cast(g, "float64")) for g in found] for found in both]
        return ops.convert_to_numpy(out), [(found[: len(movable)], found[len(movable) :]) for found in both]

    expected, (exactly, truly) = slopes(twin, exact)
    checks = [Checked(f"{name}: output", relative(y, expected), bound(terms[0]))]
    local = Local(checks, max(checks[0].error, unit), (unit, 0.0), unit)
    if not movable:
        return local
    _, (ours, met) = slopes(layer, args)
    positions = min(math.prod(x.shape[:-1]) for x in (*keras.tree.flatten(args), y))
    if not isinstance(layer, CHOOSES):
        alone, common = _errors(ours[0], exactly[0])
        limit = bound(terms[1])
        checks.append(Checked(f"{name}: gradient of its inputs", math.hypot(alone, common), limit))
        limit /= math.sqrt(positions)
        checks.append(Checked(f"{name}: mean over a channel of the gradient of its inputs", common, limit))
        alone, common = _errors(met[0], truly[0])
        limit += (OWN_ROUNDINGS + math.sqrt(positions)) * UNIT["float32"]
        local.inputs = max(alone, unit), min(common, limit)
    if ours[1]:
        error = math.hypot(*_errors(ours[1], exactly[1]))
        checks.append(Checked(f"{name}: gradient of its weights", error, bound(terms[2])))
        local.weights = max(math.hypot(*_errors(met[1], truly[1])), unit)
    return local


def _errors(found, expected) -> tuple[float, float]:
    """(error of single values, error common to a channel), both as shares of the root mean square expected."""
    errors = [np.atleast_1d(a - b) for a, b in zip(found, expected, strict=True)]
    errors = [x.reshape(-1, x.shape[-1]) for x in errors]
    size = math.sqrt(sum(np.sum(np.square(x)) for x in expected))
    whole = sum(np.sum(np.square(x)) for x in errors)
    if not size:
        return math.inf if whole else 0.0, 0.0
    common = sum(len(x) * np.sum(np.square(x.mean(axis=0))) for x in errors)
    return math.sqrt(max(whole - common, 0.0)) / size, math.sqrt(common) / size


def noisy_pass(model, batch, own: dict[int, Local], dtypes: list[str], seed: int):
    """`one_pass` of a float64 model with rounded weights and each layer's own error as noise, there and back."""
    rng = np.random.default_rng(seed)

    def noise(x, share, common=0.0):
        """A function that makes values like x noisy."""
        draw = functools.partial(rng.standard_normal, dtype=np.float32)
        normal = np.float32(share) * draw(x.shape) + np.float32(common) * draw(x.shape[-1:])
        return lambda x: x + ops.cast(normal, x.dtype) * ops.stop_gradient(ops.sqrt(ops.mean(ops.square(x))))

    def ahead(number, y):
        return noise(y, own[number].output)(y) if number in own else y

    def back(number, layer, call):
        def noisy(x):
            if "float" not in keras.backend.standardize_dtype(x.dtype):
                return x
            disturbed = noise(x, *own[number].inputs)

            @ops.custom_gradient
            def same(x):
                return x, lambda *args, upstream=None: disturbed(args[0] if upstream is None else upstream)

            return same(x)

        def run(*args, **kwargs):
            return call(*keras.tree.map_structure(noisy, args), **kwargs)

        return run if number in own else call

    weights, layers = model.get_weights(), leaves(model)
    for layer, dtype in zip(layers, dtypes, strict=True):
        if getattr(layer, "kernel", None) is not None:
            layer.set_weights([_rounded(w, dtype) for w in layer.get_weights()])
    with behind(layers, ahead), around(layers, back):
        found = one_pass(model, batch)
    model.set_weights(weights)
    return found


def _rounded(weights, dtype):
    return ops.convert_to_numpy(ops.cast(ops.cast(weights, dtype), "float32"))


@dataclasses.dataclass
class Expected:
    """A pass of the float64 model, and how far rounding may take a precision from it.

    Attributes:
        weights: the model's.
        exact: {(0, output's name) or (1, layer's number): the output or the layer's gradient}.
        spread: of each, what two draws of noise do to it, as a share.
        names: of the layers.
    """

    weights: list
    exact: dict
    spread: dict
    names: list[str]

    def checks(self, found) -> tuple[list[Checked], list[Checked]]:
        """A `one_pass` beside it: (each output and gradient, the medians of both)."""
        each, ratios = [], ([], [])
        for (part, key), expected in self.exact.items():
            what = f"{self.names[key]}: gradient" if part else f"{key}: output"
            if expected.any():
                error, spread = relative(found[part][key], expected), self.spread[part, key]
                each.append(Checked(what, error, OF_ONE * spread))
                ratios[part].append(error / spread)
            else:
                each.append(Checked(what, np.inf if found[part][key].any() else 0.0, 1.0))
        both = zip(("outputs", "gradients"), ratios, strict=True)
        return each, [Checked(f"median of {what}", float(np.median(x)), OF_MEDIAN) for what, x in both if len(x) >= 8]


def expected(reference, batch, exact, own, dtypes) -> Expected:
    """What a precision may make of a pass.

    Args:
        reference: the float64 model.
        exact: `one_pass` of it.
        own: `layer_errors` of the precision's model with the same weights.
        dtypes: of that model's layers, as `leaves` lists them.
    """
    draws = [noisy_pass(reference, batch, own, dtypes, seed) for seed in range(DRAWS)]
    values, spread = {}, {}
    for part in (0, 1):
        for key, value in exact[part].items():
            values[part, key] = value
            away = np.sqrt(np.mean([relative(draw[part][key], value) ** 2 for draw in draws]))
            if part and key in own:  # its own rounding of the sum over all positions
                away = np.hypot(away, own[key].weights)
            spread[part, key] = float(max(away, UNIT["float32"]))
    loud = {key: spread[0, key] for key in exact[0] if exact[0][key].any() and OF_MEDIAN * spread[0, key] >= 1}
    assert not loud, f"noise would hide everything in {loud}"
    return Expected(reference.get_weights(), values, spread, list(map(name_of, leaves(reference))))
