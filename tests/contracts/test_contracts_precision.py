"""Half precision, XLA and other backends compute what float64 does, but for rounding; bounds in rounding.py."""

import functools
import math
import os
import pickle
from pathlib import Path

import fakes
import families
import keras
import numpy as np
import passes
import pytest
import rounding
from covering import PAIRS
from keras import ops
from rounding import Checked, report

from visiontasks.layers.batch_normalization import BatchNormalization

COVERS = PAIRS
IMAGES = 4
HALVES = ("mixed_bfloat16", "mixed_float16")


def test_a_pass_differs_from_float64_by_rounding(family, precision, backend, names):
    """The reference is TensorFlow's float64, for other backends too: test_other_backends.py hands it on."""
    here = keras.backend.backend() == "tensorflow"
    case = expected_of(family, precision, names) if here else handed_on(family, precision, names)
    model, batch = in_precision(family, precision, names)
    model.set_weights(case.weights)
    scale = passes.LOSS_SCALE.get(precision, 1.0)
    each, medians = case.checks(passes.one_pass(model, batch, scale, compiled=backend in ("xla", "jax")))
    report(f"{family} {precision} {backend}: network", each)
    report(f"{family} {precision} {backend}: medians", medians)


def model_of(family, names):
    model, batch = families.model_of(family, names)
    return model, {key: value[:IMAGES] for key, value in batch.items()}


@functools.lru_cache(maxsize=1)
def in_precision(family, precision, names):
    """(the network in a precision, its images). It is given weights afterwards."""
    keras.config.set_dtype_policy(precision)
    with fakes.weights_of_zero():
        return model_of(family, names)


@functools.lru_cache(maxsize=1)
def reference(family, names):
    """(the network in float64 with weights that rounding does not blow up, its images, a pass, its cotangents)."""
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    model, batch = model_of(family, names)
    passes.condition(model, batch)
    return model, batch, *passes.pass_with_cotangents(model, batch)


def expected_of(family, precision, names) -> rounding.Expected:
    """What rounding may make of a pass; each layer alone is compared on the way."""
    exact_model, batch, exact, cotangents = reference(family, names)
    model, _ = in_precision(family, precision, names)
    model.set_weights(exact_model.get_weights())
    own = rounding.layer_errors(model, batch, cotangents)
    report(f"{family} {precision}: layers", [check for local in own.values() for check in local.checks])
    return rounding.expected(exact_model, batch, exact, own, [x.compute_dtype for x in passes.leaves(model)])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="layers are compared in TensorFlow alone")
def test_an_error_that_all_positions_of_a_channel_share_is_seen(monkeypatch):
    """Of two units, which the noise of a whole network would hide."""
    own = BatchNormalization.call

    def call(self, inputs, **kwargs):
        if self.compute_dtype == "float64":
            return own(self, inputs, **kwargs)
        signs = np.random.default_rng(5).choice(np.float32([-1, 1]), inputs.shape[-1])

        @ops.custom_gradient
        def same(x):
            def slope(*args, upstream=None):
                y = ops.cast(args[0] if upstream is None else upstream, "float32")
                shared = 2 * rounding.UNIT["bfloat16"] * ops.sqrt(ops.mean(ops.square(y))) * signs
                return ops.cast(y + shared, x.dtype)

            return x, slope

        return own(self, same(inputs), **kwargs)

    monkeypatch.setattr(BatchNormalization, "call", call)
    with pytest.raises(AssertionError, match="mean over a channel of the gradient of its inputs"):
        expected_of("unet_encoder", "mixed_bfloat16", ("tagger",))


def handed_on(family, precision, names) -> rounding.Expected:
    with (Path(os.environ["REFERENCES"]) / file_of(family, precision, names)).open("rb") as file:
        return pickle.load(file)


def file_of(family, precision, names) -> str:
    return f"{family}-{precision}-{'+'.join(names)}.pickle"


# a head's options without choices that turn on the last bit or on a random number, which a compiler may draw otherwise
WITHOUT_CHOICES = {
    "yolo": {"assigned": 500},
    "yolo_v1": {"boxes": 1},
    "rcnn": {"proposal_iou_threshold": 0.99, "samples": 4000, "positives": 0.99, "anchor_positives": 0.99},
}
WITHOUT_CHOICES["keypoint_rcnn"] = WITHOUT_CHOICES["rcnn"]


@pytest.mark.parametrize("name", sorted(fakes.trained_heads()))
def test_losses_are_those_of_float32_under_every_policy_and_compiled(name):
    """Of the same raw outputs: values, and slopes at the outputs.

    Both are sums of N terms, each of at most 16 roundings in float32: they may differ by (16 + √N) 2⁻²⁴. A head whose
    losses run layers of its own rounds as these do, each by (4 + √n) u: see rounding.py. Slopes through these layers
    are left to the test above, which has them in the network.
    """
    jax = keras.backend.backend() == "jax"  # compiles op by op otherwise, which takes several times as long
    model, batch = built(name, "float32")
    outputs = raw_outputs(model, batch, compiled=jax)[name]
    expected = losses_of(model.heads[name], outputs, batch, compiled=jax)
    # on JAX one of the two, compiled as the reference is; on TensorFlow both, and float32 compiled
    number = sorted(fakes.trained_heads()).index(name)
    for policy in HALVES[number % 2 :][:1] if jax else (*HALVES, "float32"):
        head = built(name, policy)[0].heads[name]
        compiled = jax or policy == "float32" and keras.backend.backend() != "torch"
        found = losses_of(head, outputs, batch, compiled=compiled)
        report(f"losses of {name} {policy}", list(compared(found, expected, allowed(head, outputs, batch))))


def built(name, policy):
    """(a model with one head, the batch); each policy has the same weights."""
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families.NARROW, name, families.NARROW.get(name, {}) | WITHOUT_CHOICES.get(name, {}))
        model, batch = model_of("unet_encoder", [name])
    if "boxes" in batch:  # overlaps of whole numbers lie on thresholds
        batch["boxes"] = np.where(batch["classes"][..., None] >= 0, batch["boxes"] + np.float32(0.37), 0.0)
    return model, batch


def raw_outputs(model, batch, compiled):
    """{head: raw outputs in training as float32 arrays}."""

    def run(images):
        with keras.StatelessScope():  # statistics stay as they are
            return model.by_head(model(images, training=True))

    return keras.tree.map_structure(
        lambda x: ops.cast(x, "float32") if "float" in keras.backend.standardize_dtype(x.dtype) else x,
        (passes.jitted(run) if compiled else run)(batch["image"]),
    )


def losses_of(head, outputs, batch, compiled):
    """({term: value}, [slopes of their sum at each float output])."""
    flat = keras.tree.flatten(outputs)
    movable = [i for i, x in enumerate(flat) if "float" in keras.backend.standardize_dtype(x.dtype)]

    def run(values):
        def scalar(values):
            moved = list(flat)
            for i, value in zip(movable, values, strict=True):
                moved[i] = value
            return fakes.losses(head, batch, keras.tree.pack_sequence_as(outputs, moved))

        terms = scalar(values)
        _, slopes = passes.gradients(lambda values: sum(scalar(values).values()), values)
        return terms, slopes

    def cut(number, layer, call):
        return lambda *args, **kwargs: ops.stop_gradient(call(*args, **kwargs))

    with passes.around(summing(head), cut):
        terms, slopes = (passes.jitted(run) if compiled else run)([flat[i] for i in movable])
    return {term: float(value) for term, value in terms.items()}, list(map(ops.convert_to_numpy, slopes))


def summing(head):
    return [layer for layer in passes.leaves(head) if getattr(layer, "kernel", None) is not None]


def allowed(head, outputs, batch):
    """What the roundings of the head's losses may add up to, as a share."""
    run = []

    def counted(number, layer, call):
        def counting(*args, **kwargs):
            run.append(layer)
            return call(*args, **kwargs)

        return counting

    with passes.around(summing(head), counted):
        passes.followed(lambda outputs: fakes.losses(head, batch, outputs), outputs)
    terms = sum(math.prod(x.shape) for x in keras.tree.flatten(outputs))
    own = [(4 + math.sqrt(math.prod(x.kernel.shape[:-1]))) * rounding.UNIT[x.compute_dtype] for x in run]
    return (16 + math.sqrt(terms)) * rounding.UNIT["float32"] + sum(own)


def compared(found, expected, bound):
    for term, value in expected[0].items():
        yield Checked(term, abs(found[0][term] - value) / abs(value), bound)
    for number, slopes in enumerate(expected[1]):
        if slopes.any():
            yield Checked(f"slope at output {number}", rounding.relative(found[1][number], slopes), bound)
