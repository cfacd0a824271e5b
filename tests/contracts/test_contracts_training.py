"""Every head on every family of backbones, in every precision: it learns, and what is saved is what was learnt.

The heads are trained jointly on one backbone, each with its own loss watched, so that one run a family shows them all.
"""

import functools

import fakes
import keras
import numpy as np
import pytest

from visiontasks import build, catalog
from visiontasks.model import VisionModel

# one network of each family, as small as the family allows: {recipe name: (constructor arguments, picture size)}
FAMILIES = {
    "efficientnet_lite0": ({}, 64),
    "vgg16": ({}, 32),
    "resnet50": ({}, 64),
    "inception_v3": ({}, 96),
    "efficientnet_b0": ({}, 64),
    "unet_encoder": ({"filters": 8, "depth": 4}, 64),
}
STEPS = 20
HALF = ["mixed_bfloat16", "mixed_float16"]


def test_every_backbone_file_has_a_representative():
    parts = catalog.parts("backbones")
    trained = {parts[name].module for name in FAMILIES}
    # the adapter of keras-hub is an optional extra with a training test of its own
    assert {part.module for part in parts.values()} - trained == {"visiontasks.backbones.hub"}


def model_of(family):
    arguments, side = FAMILIES[family]
    backbone = build.backbone(family, input_shape=(side, side, 3), **arguments)
    batch, names = fakes.scenes(8, (side, side))
    heads = {name: head(names[head.fields[0]]) for name, head in fakes.heads().items()}
    return VisionModel(backbone, heads), batch


def train(family, policy, jit):
    """Twenty steps from the same weights: (the model, its pictures, {loss: [first, …, last epoch]})."""
    keras.config.set_dtype_policy(policy)
    model, batch = model_of(family)
    model.set_weights(start(family))
    # gentle steps: what is compared is the arithmetic, not the chaos of a steep descent
    optimizer = keras.optimizers.SGD(1e-3)
    if policy == "mixed_float16":
        # Keras's first scale, 2¹⁵, overflows on purpose and skips the first steps until it has halved often enough
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2**7)
    model.compile(optimizer, jit_compile=jit)
    history = model.fit(batch, batch_size=8, epochs=STEPS, shuffle=False, verbose=0)
    return model, batch, history.history


@functools.cache
def start(family):
    """The weights that every precision starts from."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    weights = model_of(family)[0].get_weights()
    keras.config.set_dtype_policy(policy)
    return weights


@functools.cache
def float32_losses(family):
    return train(family, "float32", "auto")[2]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("policy", ["float32", *HALF])
def test_learns_saves_and_reloads(family, policy, tmp_path):
    model, batch, losses = train(family, policy, "auto")
    for term, values in losses.items():
        assert np.isfinite(values).all()
        assert min(values[-3:]) < values[0], f"{term} did not fall: {values}"
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    before, after = model.predict(batch["image"], verbose=0), again.predict(batch["image"], verbose=0)
    for head in before:
        for key in before[head]:
            assert np.isfinite(before[head][key]).all()
            np.testing.assert_array_equal(before[head][key], after[head][key])
    if policy != "float32":
        reference = float32_losses(family)["loss"]
        np.testing.assert_allclose(losses["loss"][-1], reference[-1], rtol=0.05)


@pytest.mark.parametrize("family", ["efficientnet_lite0", "unet_encoder"])
def test_xla_trains_and_predicts_the_same(family):
    model, batch, losses = train(family, "float32", True)
    assert model.jit_compile is True
    np.testing.assert_allclose(losses["loss"][-1], float32_losses(family)["loss"][-1], rtol=0.05)
    compiled = model.predict(batch["image"], verbose=0)
    model.compile("adam", jit_compile=False)
    plain = model.predict(batch["image"], verbose=0)
    for head in compiled:
        for key in compiled[head]:
            np.testing.assert_allclose(compiled[head][key], plain[head][key], atol=1e-4)
