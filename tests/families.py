"""Every head trained jointly on one network of each family of backbones, each loss watched: what contracts share."""

import functools

import fakes
import keras
import numpy as np

from visiontasks import api
from visiontasks.model import VisionModel
from visiontasks.recipe import catalog

# one network of each family, as small as the family allows: {recipe name: (constructor arguments, picture size)}
FAMILIES = {
    "lenet5": ({}, 32),
    "alexnet": ({}, 96),
    "zfnet": ({}, 64),
    "googlenet": ({"norm": "batch"}, 64),
    "resnet20": ({}, 32),
    "efficientnet_lite0": ({}, 64),
    "vgg16": ({}, 32),
    "resnet50": ({}, 64),
    "inception_v3": ({}, 128),  # without padding: smaller pictures leave batch norms few pixels
    "efficientnet_b0": ({}, 64),
    "unet_encoder": ({"filters": 8, "depth": 4}, 64),
}
for part in catalog.parts("backbones").values():  # a new file joins with its first network, without a new line here
    # the adapter of keras-hub is an optional extra; tests/backbones/test_backbones_hub.py trains one where it is there
    if part.module not in {catalog.find("backbones", name).module for name in FAMILIES} and part.name != "hub":
        FAMILIES[part.name] = ({}, 64)
# further families of keras.applications, run but not trained
OTHERS = ("convnext_tiny", "densenet121", "efficientnet_v2_b0", "mobilenet", "mobilenet_v2", "mobilenet_v3_small")
OTHERS += ("nasnet_mobile", "resnet50_v2", "xception")
# the optimizer's steps, where 3e-4 is not right: see small_steps
STEP_SIZES = {"lenet5": 3e-3, "alexnet": 1e-4, "zfnet": 1e-4, "vgg16": 1e-4, "inception_v3": 5e-5}
STEPS = 20
# trained on every family, jointly; any other head alone, on one, by test_contracts_precision.py: what follows the 1×1
# convolution of each level that its neck begins with is the same on all
EVERYWHERE = ("classifier", "ssd", "tagger", "unet")
# a CPU convolves hundreds of channels in float16 slowly, and they show nothing more
NARROW = {
    "ssd": {"extra": ["half"], "extra_filters": [32]},
    "retinanet": {"filters": 32, "convs": 2},
    # so many samples that nothing is left to chance: XLA draws other random numbers from the same seed
    "rcnn": {
        "filters": 32,
        "units": 64,
        "proposals": 100,
        "proposal_candidates": 200,
        "training_proposals": 100,
        "training_candidates": 200,
        "anchor_samples": 8192,
        "samples": 800,
    },
    "yolo": {"levels": ["C2", "C3"]},
    # cells of 4 pixels: in larger ones two objects of a scene have their centres, and a cell knows one
    "yolo_v1": {"tap": "C1", "filters": [16, 16, 8], "hidden": [128]},
}
# U-Net's filters on each step up, from C5 to the picture; of a family that ends before, the last ones
UNET = [128, 64, 32, 16, 16]
# where float16 is shown, which a CPU convolves slowly; small steps teach the others too little with so few
NARROW_UNET = {"efficientnet_lite0": [32, 32, 16, 8, 8]}


def model_of(family, names=EVERYWHERE):
    """(VisionModel of a family's network and the named heads, narrow; a batch of scenes that it learns from)."""
    arguments, side = FAMILIES.get(family, ({}, 96))
    backbone = api.backbone(family, input_shape=(side, side, 3), **arguments)
    batch, classes = fakes.scenes(8, (side, side))
    found, heads = fakes.heads(), {}
    for name in names:
        narrow = dict(NARROW.get(name, {}))
        if narrow.get("tap") not in backbone.output:  # a family that begins at C2
            narrow.pop("tap", None)
        if name == "unet":
            narrow["filters"] = NARROW_UNET.get(family, UNET)[
                -sum(f"C{level}" in backbone.output for level in range(1, 6)) :
            ]
        heads[name] = found[name](classes[found[name].fields[0]], **narrow)
    model = VisionModel(backbone, heads)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0  # from one seed each precision would draw masks of its own
    return model, batch


def train(family, policy, optimizer=None, jit="auto"):
    """Twenty steps from the same weights: (the model, its pictures, {loss: [first, …, last epoch]})."""
    own = optimizer is not None or jit != "auto"
    optimizer = optimizer or steps_for(family, policy)
    keras.config.set_dtype_policy(policy)
    model, batch = model_of(family)
    model.set_weights(start(family))
    model.compile(optimizer, jit_compile=jit)
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces the step twice, and keeps both graphs
    history = model.fit(batch, batch_size=8, epochs=STEPS, shuffle=False, verbose=0)
    if policy == "float32" and not own:
        _FLOAT32[family] = history.history["loss"]
    return model, batch, history.history


def small_steps(family):
    """Steps so small that float32 itself goes one way: Adam's, of every single weight.

    In a deep random network with batch norms the gradient grows from layer to layer on its way back, and so does its
    rounding: at the first layers of inception_v3 bfloat16 gives another direction altogether (cosine 0.06). Steps along
    the gradient, clipped or not, would go there and nowhere else. Without batch norms Adam at 3e-4 overshoots (the loss
    of vgg16 is up by a quarter after two steps), and float32 runs from the same weights then end 1% apart. LeNet-5,
    with 16 channels, learns next to nothing in twenty steps of that size. inception_v3 has a tenth of its loss left
    after them, of which two float32 runs differ by 0.9% and bfloat16 by 7%: there smaller steps compare what is learnt,
    and not what is left of it (at 5e-5, with 42% left, bfloat16 is 1.7% off).
    """
    return keras.optimizers.Adam(STEP_SIZES.get(family, 3e-4))


def steps_for(family, policy):
    """The optimizer for a policy; Keras's own loss scale, 2¹⁵, would skip the first steps until it has halved."""
    optimizer = small_steps(family)
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


_FLOAT32 = {}  # {family: its losses in float32}: the test of that precision comes before those that compare with it


def float32_losses(family):
    if family not in _FLOAT32:
        train(family, "float32")
    return _FLOAT32[family]


def check_saved(model, batch, path):
    model.save(path)
    again = keras.saving.load_model(path)
    # op by op: two more graphs would take twice the time
    images = batch["image"][:2]
    before, after = (part.decode(part(images, training=False)) for part in (model, again))
    for head in before:
        for key in before[head]:
            a, b = map(keras.ops.convert_to_numpy, (before[head][key], after[head][key]))
            assert np.isfinite(a).all(), (head, key)
            np.testing.assert_array_equal(a, b, err_msg=f"{head}: {key}")
