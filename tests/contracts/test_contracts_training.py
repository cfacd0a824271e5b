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
    "inception_v3": ({}, 160),  # without padding: smaller pictures leave batch norms one pixel
    "efficientnet_b0": ({}, 64),
    "unet_encoder": ({"filters": 8, "depth": 4}, 64),
}
STEPS = 20


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


def train(family, policy, optimizer, jit="auto"):
    """Twenty steps from the same weights: (the model, its pictures, {loss: [first, …, last epoch]})."""
    keras.config.set_dtype_policy(policy)
    model, batch = model_of(family)
    model.set_weights(start(family))
    if policy == "mixed_float16":
        # Keras's first scale, 2¹⁵, overflows on purpose and skips the first steps until it has halved often enough
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2**7)
    model.compile(optimizer, jit_compile=jit)
    history = model.fit(batch, batch_size=8, epochs=STEPS, shuffle=False, verbose=0)
    return model, batch, history.history


def gentle():
    """Steps small enough that a comparison shows the arithmetic, not the chaos of a steep descent on eight pictures.

    Chosen by trial: with Adam at 3e-4, or SGD at 1e-3 to 3e-3, several families are 6 to 40% off after twenty steps. So
    this says that half precision follows float32 over gentle steps, not that any training does.
    """
    return keras.optimizers.SGD(5e-4)


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
def float32_loss(family):
    return train(family, "float32", gentle())[2]["loss"][-1]


def check_saved(model, batch, path):
    model.save(path)
    again = keras.saving.load_model(path)
    before, after = model.predict(batch["image"], verbose=0), again.predict(batch["image"], verbose=0)
    for head in before:
        for key in before[head]:
            assert np.isfinite(before[head][key]).all()
            np.testing.assert_array_equal(before[head][key], after[head][key])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_learns_saves_and_reloads(family, tmp_path):
    model, batch, losses = train(family, "float32", keras.optimizers.Adam(1e-3))
    for term, values in losses.items():
        assert np.isfinite(values).all()
        assert min(values[-3:]) < 0.95 * values[0], f"{term} did not fall: {values}"
    check_saved(model, batch, tmp_path / "m.keras")


# these deep random networks are 6 to 8% off after 20 steps on small pictures; larger pictures take minutes
FAR = pytest.mark.xfail(run=False, reason="not yet within 5% of float32 on pictures small enough for a CPU")
DEEP = ("resnet50", "inception_v3")
HALF = [
    pytest.param(policy, family, marks=[FAR] * (policy == "mixed_float16" and family in DEEP))
    for policy in ("mixed_bfloat16", "mixed_float16")
    for family in FAMILIES
]


@pytest.mark.parametrize(("policy", "family"), HALF)
def test_half_precision_learns_as_float32_does(family, policy, tmp_path):
    model, batch, losses = train(family, policy, gentle())
    assert np.isfinite(losses["loss"]).all()
    assert losses["loss"][-1] < losses["loss"][0]
    np.testing.assert_allclose(losses["loss"][-1], float32_loss(family), rtol=0.05)
    check_saved(model, batch, tmp_path / "m.keras")


@pytest.mark.parametrize("family", ["unet_encoder"])
def test_xla_trains_and_predicts_the_same(family):
    model, batch, losses = train(family, "float32", gentle(), jit=True)
    assert model.jit_compile is True
    np.testing.assert_allclose(losses["loss"][-1], float32_loss(family), rtol=0.01)
    compiled = model.predict(batch["image"], verbose=0)
    model.compile("adam", jit_compile=False)
    plain = model.predict(batch["image"], verbose=0)
    for head in compiled:
        for key in compiled[head]:
            np.testing.assert_allclose(compiled[head][key], plain[head][key], atol=1e-4)
