"""What contracts share: a network of each family of backbones, heads on it, trainings whose losses are watched."""

import contextlib

import fakes
import keras
import numpy as np
from covering import BACKENDS, PAIRS, PRECISIONS, cover, in_turn, product

from visiontasks import api
from visiontasks.geometry import Placement
from visiontasks.instance_masks import InstanceMasks
from visiontasks.model import VisionModel
from visiontasks.registry import catalog
from visiontasks.registry.catalog import tasks_of
from visiontasks.sample import Sample
from visiontasks.training import fused_optimizers

# one network of each family, as small as the family allows: {recipe name: (constructor arguments, image size)}
FAMILIES = {
    "lenet5": ({}, 32),
    "alexnet": ({}, 96),
    "zfnet": ({}, 64),
    "googlenet": ({"norm": "batch"}, 64),
    "resnet20": ({}, 32),
    "efficientnet_lite0": ({}, 64),
    "vgg16": ({}, 32),
    "resnet50": ({}, 64),
    "inception_v3": ({}, 128),  # without padding: smaller images leave batch norms few pixels
    "efficientnet_b0": ({}, 64),
    "unet_encoder": ({"filters": 8, "depth": 4}, 64),
}
# further families of keras.applications, whose passes are not compared with float64; EfficientPose has EfficientNet's
# stages
OTHERS = ("convnext_tiny", "densenet121", "efficientnet_v2_b0", "mobilenet", "mobilenet_v2", "mobilenet_v3_small")
OTHERS += ("nasnet_mobile", "resnet50_v2", "xception", "efficientpose_i")
for part in catalog.parts("backbones").values():  # a new file joins with its first network, without a new line here
    # the adapter of keras-hub is an optional extra; tests/backbones/test_backbones_hub.py trains one where it is there
    if part.module not in {catalog.find("backbones", name).module for name in (*FAMILIES, *OTHERS, "hub")}:
        FAMILIES[part.name] = ({}, 64)
# the optimizer's steps, where 3e-4 is not right: see small_steps
STEP_SIZES = {"lenet5": 4e-3, "unet_encoder": 1e-3, "alexnet": 1e-4, "zfnet": 1e-4, "vgg16": 1e-4, "inception_v3": 5e-5}
# what a row on it costs, beside the two that learn fast and are small; of a new family 4 is assumed
COSTS = {"lenet5": 1, "unet_encoder": 1, "alexnet": 2, "zfnet": 2, "vgg16": 3, "resnet20": 3, "googlenet": 5}
COSTS |= {"efficientnet_lite0": 5, "resnet50": 5, "efficientnet_b0": 9, "inception_v3": 9}
# at most: a training ends when every loss has fallen. Small networks learn in a graph; large ones, which train with
# --exhaustive alone, op by op, because tracing takes longer than the steps. All heads on LeNet-5 took 57
# on one processor, and another one rounds otherwise; larger steps overshoot
STEPS = 120
# XLA compiles for minutes what TensorFlow traces in seconds; what it fuses, batch norms, is for the passes
COMPILES = ("xla", "jax")
NO_BATCH_NORM = ("lenet5", "alexnet", "zfnet", "vgg16")
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
        "training_proposals": 40,
        "training_candidates": 200,
        "anchor_samples": 8192,
        "samples": 800,
    },
    "yolo": {"levels": ["C2", "C3"]},
    # cells of 4 pixels: in larger ones two objects of a scene have their centres, and a cell knows one
    "yolo_v1": {"tap": "C1", "filters": [16, 16, 8], "hidden": [128]},
    "openpose": {"filters": 16, "stages": 2},
}
NARROW["mask_rcnn"] = {**NARROW["rcnn"], "mask": {"filters": 16, "layers": 1, "bins": 4}}
# two numbers of boxes that its branches compute for predictions, of six: each is a graph of its own
NARROW["keypoint_rcnn"] = {
    **NARROW["mask_rcnn"],
    "keypoints": {"filters": 16, "layers": 1, "bins": 4},
    "detections": 24,
}
NARROW["anomaly"] = {"components": 6, "memory": 20}
NARROW["pose_heatmap"] = {"filters": 16, "layers": 2}
NARROW["fcn"] = {"levels": ["C2", "C3"]}
NARROW["deconvnet"] = {"levels": ["C1", "C2"], "convs": [1]}
NARROW["personlab"] = {"radius": 8.0, "nms_radius": 2.0}
# U-Net's filters on each step up, from C5 to the image; of a family that ends before, the last ones
UNET = [128, 64, 32, 16, 16]


def model_of(family, names):
    """(VisionModel of a family's network and the named heads, narrow; a batch of scenes that it learns from)."""
    arguments, side = FAMILIES.get(family, ({}, 96))
    backbone = api.backbone(family, input_shape=(side, side, 3), **arguments)
    batch, classes = fakes.scenes(8, (side, side))
    found, heads = fakes.heads(), {}
    for name in names:
        narrow = NARROW.get(name, {}) | fakes.posed(name)
        if narrow.get("tap") not in backbone.output:  # a family that begins at C2
            narrow.pop("tap", None)
        if not set(narrow.get("levels", ())) <= backbone.output.keys():  # one that ends there
            narrow.pop("levels", None)
            narrow.pop("convs", None)
        if name == "unet":
            narrow["filters"] = UNET[-sum(f"C{level}" in backbone.output for level in range(1, 6)) :]
        heads[name] = found[name](classes[found[name].fields[0]], **narrow)
    model = VisionModel(backbone, heads)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0  # from one seed each precision would draw masks of its own
    return model, batch


def columns(pairs=PAIRS) -> dict[str, tuple]:
    """What contracts combine: {"head", "family", "precision", "backend": every one there is}.

    Of heads those that no other one extends and that learn by gradients; of families, for a training,
    the small ones: all with --exhaustive.
    """
    return {
        "head": tuple(fakes.trained_heads()),
        "family": tuple(family for family in FAMILIES if pairs == PAIRS or small(family)),
        "precision": PRECISIONS,
        "backend": BACKENDS,
    }


def array(pairs=PAIRS, exhaustive=False) -> list[dict]:
    """The rows that contracts run: {"family", "precision", "backend": one each, "head": several}."""

    def cost(row):
        own = COSTS.get(row["family"], 4) * (2 + len(row["head"])) * (2 if row["precision"] == "mixed_float16" else 1)
        if row["backend"] not in COMPILES:
            return own
        return (2 * own if pairs == PAIRS and row["family"] in NO_BATCH_NORM else own) ** 2

    # other rows have the long ones; passes see one slope for all positions of an image, and one for each
    short = (
        ("tagger", "unet", "pose_heatmap") if pairs == PAIRS else ("classifier", "tagger", "yolo_v1", "pose_heatmap")
    )

    def spare(row, number):
        if row["backend"] == "jax":
            return "classifier"
        if pairs == PAIRS:  # the same one for a family, whose rows then share their reference
            number = tuple(FAMILIES).index(row["family"])
        return in_turn({"head": [head for head in row["head"] if head in short]}, number)

    return product(columns()) if exhaustive else cover(columns(pairs), cost, pairs, spare)


def rows(pairs=PAIRS, exhaustive=False) -> list[tuple]:
    """`array` as (family, precision, backend, heads), what runs on this backend alone, by family."""
    here = ("tensorflow", "xla") if keras.backend.backend() == "tensorflow" else (keras.backend.backend(),)
    found = [row for row in array(pairs, exhaustive) if row["backend"] in here]
    picked = [(row["family"], row["precision"], row["backend"], row["head"]) for row in found]
    return sorted(picked, key=lambda row: (tuple(FAMILIES).index(row[0]), row[1:3]))


def small(family) -> bool:
    return COSTS.get(family) == 1


def train(family, policy, names, optimizer=None, jit=False):
    """A few steps: (the model, its images, {loss: [first, …, last epoch]}); compiled once, nothing infinite."""
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model, batch = model_of(family, names)
    eagerly = not small(family) and keras.backend.backend() == "tensorflow" and not jit
    model.compile(optimizer or steps_for(family, policy), jit_compile=jit or "auto", run_eagerly=eagerly)
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces the step twice, and keeps both graphs
    runs, counts = traced(model), []
    watch = [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: counts.append(len(runs)))]
    watch += [Learned()]
    history = model.fit(batch, batch_size=8, epochs=STEPS, shuffle=False, verbose=0, callbacks=watch).history
    if keras.backend.backend() != "torch" and not eagerly:  # which run it anew in every step
        assert counts[0] == counts[-1], f"compiled again after the first epoch: {counts}"
    assert all(np.isfinite(values).all() for values in history.values()), history
    return model, batch, history


class Learned(keras.callbacks.Callback):
    """Ends a training as soon as every loss has fallen as `check_learned` asks."""

    def on_train_begin(self, logs=None):
        self.losses = {}

    def on_epoch_end(self, epoch, logs):
        for name, value in logs.items():
            self.losses.setdefault(name, []).append(value)
        with contextlib.suppress(AssertionError):
            check_learned(self.losses)
            self.model.stop_training = epoch > 0  # the second epoch shows whether a step is compiled again


def traced(model) -> list:
    """A list that grows by one each time Python runs the model's loss: where a graph is compiled, not where it runs."""
    runs, compute_loss = [], model.compute_loss

    def counted(*args, **kwargs):
        runs.append(None)
        return compute_loss(*args, **kwargs)

    model.compute_loss = counted
    return runs


def small_steps(family):
    """Adam's steps of every single weight.

    In a deep random network with batch norms the gradient grows from layer to layer on its way back, and so does its
    rounding: at the first layers of inception_v3 bfloat16 gives another direction altogether (cosine 0.06). Steps along
    the gradient, clipped or not, would go there and nowhere else. Without batch norms Adam at 3e-4 overshoots (the loss
    of vgg16 is up by a quarter after two steps). LeNet-5, with 16 channels, learns next to nothing in twenty steps of
    that size.
    """
    return fused_optimizers.Adam(STEP_SIZES.get(family, 3e-4))


def steps_for(family, policy):
    """The optimizer for a policy; Keras's own loss scale, 2¹⁵, would skip the first steps until it has halved."""
    optimizer = small_steps(family)
    return (
        keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2**7)
        if "float16" in policy.split("_")
        else optimizer
    )


# heads of which a term may rise while they learn: what R-CNN's second stage is shown gets harder, and so does the
# confidence of the first YOLO, which is that of a box's overlap
TERMS_RISE = ("rcnn", "keypoint_rcnn", "yolo_v1")


def check_learned(losses):
    """The loss fell by a fifth, each head's share of it by a tenth, each term by a twentieth."""
    by_head = {}
    for name, values in losses.items():
        head, slash, _ = name.partition("/")
        if slash:
            by_head.setdefault(head, []).append(values)
            assert head in TERMS_RISE or min(values[-3:]) < 0.95 * values[0], f"{name} did not fall: {values}"
    for head, terms in by_head.items():
        values = np.sum(terms, axis=0)
        assert min(values[-3:]) < 0.9 * values[0], f"{head} did not learn: {values}"
    assert losses["loss"][-1] < 0.8 * losses["loss"][0], losses["loss"]


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


def scores(model, batch) -> dict[str, dict[str, float]]:
    """{head: its metrics} of a model with several heads on a batch with labels."""
    predictions, found = model.predict(batch["image"], verbose=0), {}
    for name, task in tasks_of(model).items():
        metric = task.metric()
        for row, image in enumerate(batch["image"]):
            objects = batch["classes"][row] >= 0
            labels = {key: batch[key][row] for key in ("label", "mask", "tags")}
            labels |= {key: batch[key][row][objects] for key in ("boxes", "classes", "keypoints")}
            crops = batch["instance_masks"][row][objects]
            labels["instance_masks"] = InstanceMasks.of_crops(crops, labels["boxes"], image.shape[:2])
            one = {key: value[row] for key, value in predictions[name].items()}
            metric.update(Sample(image, **labels), task.restore(one, Placement(image.shape[:2], image.shape[:2])))
        found[name] = metric.result()
    return found
