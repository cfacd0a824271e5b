"""Counts against the papers' and torchvision's, receptive fields against gradients."""

import importlib
import math

import keras
import numpy as np
import passes
import pytest

from visiontasks import api
from visiontasks.backbones.backbone import Graph
from visiontasks.backbones.cost import layer_costs
from visiontasks.backbones.googlenet import inception
from visiontasks.heads.classifier import Classifier
from visiontasks.layers.dilated_max_pooling import DilatedMaxPooling2D
from visiontasks.layers.l2_pooling import L2Pooling2D
from visiontasks.layers.mixed_pooling import MixedPooling2D
from visiontasks.layers.separated_convolutions import FlattenedConv2D, SpatiallySeparableConv2D
from visiontasks.layers.spatial_pyramid_pooling import SpatialPyramidPooling2D
from visiontasks.model import VisionModel
from visiontasks.registry import catalog


def parameters(name, side, **arguments):
    original = getattr(importlib.import_module(catalog.find("backbones", name).module), "ORIGINAL", {})
    backbone = api.backbone(name, input_shape=(side, side, 3), **arguments)
    model = VisionModel(backbone, Classifier(**original.get("classifier", {"classes": 1000})))
    return sum(math.prod(v.shape) for v in model.trainable_variables)


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("alexnet", 227, 62_378_344),
        ("vgg11", 224, 132_863_336),
        ("vgg16", 224, 138_357_544),
        ("vgg19", 224, 143_667_240),
        ("vgg16_bn", 224, 138_365_992),
        ("resnet18", 64, 11_689_512),
        ("resnet34", 64, 21_797_672),
        ("resnet50", 64, 25_557_032),
        ("resnet101", 64, 44_549_160),
        ("resnet152", 64, 60_192_808),
        ("resnext50", 64, 25_028_904),
        ("wide_resnet50", 64, 68_883_240),
        ("efficientnet_b0", 64, 5_288_548),
    ],
)
def test_parameters_as_published(name, side, expected, without_weights):
    assert parameters(name, side) == expected


def test_parameters_of_the_small_and_the_other_form(without_weights):
    assert parameters("lenet5", 32) == 61_706
    assert parameters("resnet20", 32) == 269_722
    assert parameters("alexnet", 224, form="torchvision") == 61_100_840
    assert parameters("googlenet", 224, form="torchvision") == 6_624_904


def test_alexnet_layer_by_layer():
    costs = {c.name: c for c in layer_costs(api.backbone("alexnet", input_shape=(227, 227, 3)))}
    convolutions = [costs[f"conv{i}"] for i in range(1, 6)]
    assert [c.parameters for c in convolutions] == [34_944, 614_656, 885_120, 1_327_488, 884_992]
    assert [c.shape for c in convolutions] == [(55, 55, 96), (27, 27, 256), (13, 13, 384), (13, 13, 384), (13, 13, 256)]
    assert [costs[f"pool{i}"].shape for i in (1, 2, 5)] == [(27, 27, 96), (13, 13, 256), (6, 6, 256)]
    assert convolutions[0].multiply_adds == 55 * 55 * 96 * 11 * 11 * 3


def test_lenet_and_zfnet_shapes_as_drawn_in_the_papers():
    lenet = {c.name: c.shape for c in layer_costs(api.backbone("lenet5", input_shape=(32, 32, 3)))}
    assert [lenet[n] for n in ("conv1", "pool1", "conv2", "pool2")] == [
        (28, 28, 6),
        (14, 14, 6),
        (10, 10, 16),
        (5, 5, 16),
    ]
    zfnet = {c.name: c.shape for c in layer_costs(api.backbone("zfnet", input_shape=(224, 224, 3)))}
    assert [zfnet[n][0] for n in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [110, 55, 26, 13, 13, 6]


def test_googlenet_has_22_layers_with_weights_on_the_longest_way():
    backbone = api.backbone("googlenet", input_shape=(224, 224, 3))
    depth = {}
    for node in Graph(backbone.input, backbone.output["C5"]).nodes:
        before = max((depth[id(t)] for t in node.input_tensors), default=0)
        depth.update((id(t), before + isinstance(node.operation, keras.layers.Conv2D)) for t in node.outputs)
    assert depth[id(backbone.output["C5"])] + 1 == 22  # and the classifier's


def inception_multiply_adds(reduced):
    x = keras.Input((28, 28, 256))
    filters = (128, 64, 192, 64, 96, 64) if reduced else (128, None, 192, None, 96, None)
    return sum(c.multiply_adds for c in layer_costs(keras.Model(x, inception(x, *filters, name="module"))))


def test_an_inception_module_reduces_first():
    """28×28×256 in, 128, 192 and 96 filters: 854 million naive, 271 million with 64 channels in between.

    A well-known lecture says 358, which counts the 3×3 convolution twice: 271.3 + 86.7.
    """
    positions = 28 * 28
    naive = positions * 256 * (128 + 9 * 192 + 25 * 96)
    reduced = positions * (256 * (128 + 64 + 64 + 64) + 64 * (9 * 192 + 25 * 96))
    assert inception_multiply_adds(reduced=False) == naive and round(naive / 1e6) == 854
    assert inception_multiply_adds(reduced=True) == reduced and round(reduced / 1e6) == 271


def test_multiply_adds_of_whole_networks():
    """torchvision's documentation: 4.09 G for ResNet-50, 15.47 G for VGG-16, its dense layers included."""
    for name, expected, dense in (("resnet50", 4.09, 2048 * 1000), ("vgg16", 15.47, 25088 * 4096 + 4096 * 5096)):
        costs = layer_costs(api.backbone(name, input_shape=(224, 224, 3)))
        assert (sum(c.multiply_adds for c in costs) + dense) / 1e9 == pytest.approx(expected, rel=0.005)


def test_groups_depthwise_and_any_size():
    x = keras.Input((8, 8, 4))
    grouped = keras.layers.Conv2D(8, 3, groups=2, padding="same", use_bias=False)
    deep = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    split = keras.layers.SeparableConv2D(6, 3, padding="same", use_bias=False)
    costs = layer_costs(keras.Model(x, split(deep(grouped(x)))))
    assert [c.multiply_adds for c in costs] == [0, 64 * 9 * 2 * 8, 64 * 9 * 8, 64 * (9 * 8 + 8 * 6)]
    with pytest.raises(ValueError, match="fixed size"):
        layer_costs(api.backbone("lenet5"))


def test_three_3x3_convolutions_see_7x7():
    x = inputs = keras.Input((16, 16, 1))
    for _ in range(3):
        x = keras.layers.Conv2D(1, 3, padding="same")(x)
    assert layer_costs(keras.Model(inputs, x))[-1].receptive_field == 7


@pytest.mark.parametrize(
    ("name", "level", "side"),
    [("lenet5", "C2", 32), ("alexnet", "C3", 131), ("resnet18", "C3", 160), ("vgg11", "C3", 96)],
)
def test_receptive_fields_are_where_gradients_reach(name, level, side):
    """All weights equal and positive: a pixel has a gradient if and only if the position sees it."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes the gradient with TensorFlow")
    import tensorflow as tf

    arguments = {"activation": "relu"} if name == "lenet5" else {}
    backbone = api.backbone(name, input_shape=(side, side, 3), **arguments)
    expected = Graph(backbone.input, backbone.output[level]).receptive_field(backbone.output[level])
    pixels = backbone.get_layer("pixels").output
    tail = keras.Model(pixels, backbone.output[level])
    for variable in tail.variables:
        kind = variable.path.split("/")[-1]
        fan = math.prod(variable.shape[:-1])
        variable.assign(np.full(variable.shape, {"kernel": 1 / fan, "gamma": 1, "moving_variance": 1}.get(kind, 0)))
    # pooling by maximum hands a gradient to one pixel of each window: over random images every one gets some
    reached = np.zeros((side, side), bool)
    rng = np.random.default_rng(0)
    for _ in range(40):
        image = tf.constant(rng.uniform(0.1, 1, (1, side, side, 3)).astype("float32"))
        with tf.GradientTape() as tape:
            tape.watch(image)
            output = tail(image)
            middle = [n // 2 for n in output.shape[1:3]]
            value = output[0, middle[0], middle[1], 0]
        reached |= np.abs(tape.gradient(value, image)[0].numpy()).sum(-1) > 0
    rows, columns = (np.flatnonzero(reached.any(axis)) for axis in (1, 0))
    assert rows[-1] - rows[0] + 1 == columns[-1] - columns[0] + 1 == expected


WINDOWS = {
    "dilated": lambda: keras.layers.Conv2D(2, 3, dilation_rate=3),
    "dilated pool": lambda: DilatedMaxPooling2D(2, 4),
    "flattened": lambda: FlattenedConv2D(2, 5),
    "l2 pool": lambda: L2Pooling2D(3, 1),
    "mixed pool": lambda: MixedPooling2D(3, 2),
    "separable": lambda: SpatiallySeparableConv2D(2, 5, 2),
    "1×7": lambda: keras.Sequential([keras.layers.Conv2D(2, (1, 7)), keras.layers.Conv2D(2, (5, 1))]),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_the_receptive_field_of_a_layer_is_where_its_gradient_reaches(name):
    inputs = keras.Input((40, 40, 2))
    x = keras.layers.Conv2D(2, 2, strides=2)(inputs)
    model = keras.Model(inputs, WINDOWS[name]()(x))
    for layer in model.layers:
        layer.set_weights([np.full(w.shape, 1.0) for w in layer.get_weights()])
    reached, rng = np.zeros((40, 40), bool), np.random.default_rng(0)

    def middle(values):
        output = model(values[0])
        return output[0, output.shape[1] // 2, output.shape[2] // 2, 0]

    for _ in range(20):  # pooling by maximum hands a gradient to one value of each window
        _, (slope,) = passes.gradients(middle, [rng.uniform(0.1, 1, (1, 40, 40, 2)).astype("float32")])
        reached |= keras.ops.convert_to_numpy(slope)[0].any(-1)
    rows, columns = (np.flatnonzero(reached.any(axis)) for axis in (1, 0))
    cost = layer_costs(model)[-1]
    assert max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 == cost.receptive_field


def test_multiply_adds_of_convolutions_along_one_axis_at_a_time():
    x = keras.Input((16, 12, 4))
    separable = layer_costs(keras.Model(x, SpatiallySeparableConv2D(8, 3, 2, padding="same", use_bias=False)(x)))[-1]
    assert separable.multiply_adds == 8 * 12 * 3 * 4 * 8 + 8 * 6 * 3 * 8 * 8
    assert (separable.parameters, separable.stride) == (3 * 4 * 8 + 3 * 8 * 8, 2)
    flattened = layer_costs(keras.Model(x, FlattenedConv2D(8, 3, padding="same", use_bias=False)(x)))[-1]
    assert flattened.multiply_adds == 16 * 12 * 8 * (4 + 3 + 3)


def test_a_pyramid_of_pools_has_no_positions():
    x = keras.Input((16, 12, 4))
    cost = layer_costs(keras.Model(x, SpatialPyramidPooling2D()(x)))[-1]
    assert (cost.shape, cost.stride, cost.receptive_field) == ((84,), None, None)
