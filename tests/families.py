"""Every head trained jointly on one network of each family of backbones, each loss watched: what contracts share."""

import functools

import fakes
import keras
import numpy as np

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
for part in catalog.parts("backbones").values():  # a new file joins with its first network, without a new line here
    # the adapter of keras-hub is an optional extra; tests/backbones/test_backbones_hub.py trains one where it is there
    if part.module not in {catalog.find("backbones", name).module for name in FAMILIES} and part.name != "hub":
        FAMILIES[part.name] = ({}, 64)
STEPS = 20
# Networks whose loss stays within 5% of float32. The others, deep and random, with batch norms over 8 small pictures,
# amplify rounding: before any step their losses differ by up to 3%, after twenty by 2 to 9%, either way.
CALM = ("vgg16", "unet_encoder")
LENGTH, CALM_LENGTH = 0.003, 0.01  # of a step, in the space of all weights


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
    model.compile(optimizer, jit_compile=jit)
    history = model.fit(batch, batch_size=8, epochs=STEPS, shuffle=False, verbose=0)
    return model, batch, history.history


def short_steps(family):
    """Twenty steps of one length in every network: plain descent, the gradient clipped to norm 1.

    The first gradients of deep random networks differ by orders of magnitude between families. With one learning rate
    for all, some take steps so long that a rounding difference decides where they land.
    """
    return keras.optimizers.SGD(CALM_LENGTH if family in CALM else LENGTH, global_clipnorm=1.0)


def half_or_full(family, policy):
    """The optimizer for a policy; Keras's own loss scale, 2¹⁵, would skip the first steps until it has halved."""
    optimizer = short_steps(family)
    return (
        keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2**7)
        if "float16" in policy.split("_")
        else optimizer
    )


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
    return train(family, "float32", short_steps(family))[2]["loss"]


def check_saved(model, batch, path):
    model.save(path)
    again = keras.saving.load_model(path)
    before, after = model.predict(batch["image"], verbose=0), again.predict(batch["image"], verbose=0)
    for head in before:
        for key in before[head]:
            assert np.isfinite(before[head][key]).all()
            np.testing.assert_array_equal(before[head][key], after[head][key])
