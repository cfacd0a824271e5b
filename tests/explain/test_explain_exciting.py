"""A patch alone gives the activation that the image gave, and nothing outside of its field moves it."""

import functools
import importlib
import inspect
from pathlib import Path

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks import api, explain, layers
from visiontasks.backbones.backbone import Graph
from visiontasks.errors import UserError
from visiontasks.explain.receptive import Field, ReceptiveFields
from visiontasks.layers.dilated_max_pooling import DilatedMaxPooling2D
from visiontasks.layers.l2_pooling import L2Pooling2D
from visiontasks.layers.max_unpooling import MaxPoolingWithPositions2D, MaxUnpooling2D
from visiontasks.layers.mixed_pooling import MixedPooling2D
from visiontasks.layers.separated_convolutions import FlattenedConv2D, SpatiallySeparableConv2D

# {backbone: (tap, image size)}
NETWORKS = {
    "vgg11": ("C3", (64, 96)),
    "vgg11 dilated": ("C4", (96, 112)),
    "resnet18": ("C3", (64, 96)),
    "resnet20": ("C2", (48, 32)),
    "zfnet": ("C3", (96, 96)),
}
CHANNELS = 10


@functools.lru_cache(maxsize=1)
def network(name):
    """(a backbone for any size, a function of images to its tap as an array, its images)."""
    keras.utils.set_random_seed(0)
    tap, size = NETWORKS[name]
    dilated = {"output_stride": 8} if name.endswith(" dilated") else {}
    backbone = api.backbone(name.partition(" ")[0], input_shape=(None, None, 3), **dilated)
    run = keras.Function(backbone.input, backbone.output[tap])
    images = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    return backbone, lambda image: ops.convert_to_numpy(run(ops.convert_to_tensor(image[None])))[0], images


@pytest.mark.parametrize("name", NETWORKS)
def test_the_patch_alone_gives_the_same_activation(name):
    backbone, run, images = network(name)
    tap, size = NETWORKS[name]
    fields = ReceptiveFields(backbone, tap, size)
    whole = run(images[0])
    assert whole.shape[:2] == fields.cells
    found = explain.patches(backbone, images, tap, list(range(CHANNELS)), count=2)
    for channel, best in found.items():
        assert len(best) == 2 and best[0].value >= best[1].value and best[0].image != best[1].image
        for patch in best:
            part, (row, column) = fields.alone(*patch.position)
            value = run(part.cut(images[patch.image]))[row, column, channel]
            assert value == pytest.approx(patch.value, rel=1e-4, abs=1e-5)
            np.testing.assert_array_equal(patch.pixels, patch.field.cut(images[patch.image]))
    # at the corners, where padding is part of it, and in the middle
    last, middle = np.subtract(fields.cells, 1), np.floor_divide(fields.cells, 2)
    for place in ((0, 0), tuple(last), tuple(middle), (0, int(middle[1]))):
        part, there = fields.alone(*place)
        np.testing.assert_allclose(run(part.cut(images[0]))[there], whole[place], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "vgg11 dilated"])
def test_the_field_is_what_a_position_depends_on_and_no_more(name):
    backbone, run, images = network(name)
    tap, size = NETWORKS[name]
    fields = ReceptiveFields(backbone, tap, size)
    assert fields.stride == Graph(backbone.input, backbone.output[tap]).stride(backbone.output[tap])
    place = tuple(np.floor_divide(fields.cells, 2))
    field = fields.field(*place)
    length = Graph(backbone.input, backbone.output[tap]).receptive_field(backbone.output[tap])
    assert field.bottom - field.top == field.right - field.left == length
    top, left, bottom, right = field.within(size)
    inside, outside = images[0].copy(), images[1].copy()
    outside[top:bottom, left:right] = images[0][top:bottom, left:right]
    expected = run(images[0])[place]
    np.testing.assert_allclose(run(outside)[place], expected, rtol=1e-4, atol=1e-5)
    for row, column in ((top, left), (bottom - 1, right - 1)):
        moved = inside.astype(np.float32)
        # one pixel at the corner is heard faintly, so it is loud
        moved[row, column] = 3e4
        assert np.abs(run(moved)[place] - expected).max() > 1e-5 * np.abs(expected).max()


def test_a_field_in_numbers():
    """Two convolutions of 3×3, stride 2, "same": of an even size padded at the end alone."""
    fields = ReceptiveFields(fakes.backbone((None, None)), "C2", (32, 32))
    assert fields.stride == 4 and fields.cells == (8, 8)
    assert fields.field(0, 2) == Field(0, 8, 7, 15)
    assert fields.alone(1, 2) == (Field(4, 8, 12, 16), (0, 0))


WINDOWS = {
    DilatedMaxPooling2D: {"pool_size": 3, "dilation_rate": 2},
    FlattenedConv2D: {"filters": 2, "kernel_size": 3, "padding": "same"},
    L2Pooling2D: {"pool_size": 3, "strides": 2},
    MaxPoolingWithPositions2D: {"pool_size": 3},
    MixedPooling2D: {"pool_size": 3, "strides": 2},
    SpatiallySeparableConv2D: {"filters": 2, "kernel_size": 5, "strides": 2, "padding": "same"},
}


def test_every_layer_of_the_package_that_has_windows_is_here():
    found = set()
    for file in Path(layers.__path__[0]).glob("[a-z]*.py"):
        for kind in vars(importlib.import_module(f"{layers.__name__}.{file.stem}")).values():
            if inspect.isclass(kind) and kind.__module__.startswith(layers.__name__):
                found |= {kind} if {"pool_size", "kernel_size"} & inspect.signature(kind).parameters.keys() else set()
    assert found - {MaxUnpooling2D} == WINDOWS.keys()


@pytest.mark.parametrize("kind", WINDOWS)
def test_the_field_of_a_layer_of_the_package_is_what_it_depends_on(kind):
    """Each pixel of a black image is lit in turn."""
    keras.utils.set_random_seed(0)
    size, rate = (13, 11), WINDOWS[kind].get("dilation_rate", 1)
    inputs = keras.Input((*size, 3))
    x = kind(**WINDOWS[kind])(inputs)
    backbone = keras.Model(inputs, {"C1": x[0] if isinstance(x, (list, tuple)) else x})
    fields, lit = ReceptiveFields(backbone, "C1", size), np.zeros((143, *size, 3), np.float32)
    lit.reshape(143, 143, 3)[np.arange(143), np.arange(143)] = 1
    values = ops.convert_to_numpy(backbone(lit)["C1"])
    assert values.shape[1:3] == fields.cells
    for place in np.ndindex(fields.cells):
        seen = np.argwhere(values[:, *place].any(axis=-1).reshape(size))
        first, end = np.reshape(fields.field(*place).within(size), (2, 2))
        end = end - (end - first - 1) % rate  # between the values of a dilated window, at the border
        assert (*seen.min(axis=0), *seen.max(axis=0) + 1) == (*first, *end), place


def rolled(x):
    return ops.concatenate([x[:, 1:], x[:, :1]], axis=1)


@pytest.mark.parametrize(
    ("mixes", "says"),
    [
        (lambda x: x * ops.mean(x, axis=(1, 2), keepdims=True), r"\(Mean\) is not known"),
        (rolled, "GetItem"),
        (lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0))), "Pad"),
        (lambda x: keras.layers.Lambda(ops.flip)(x), "Lambda"),
        (lambda x: keras.layers.LayerNormalization(axis=1)(x), "LayerNormalization"),
        (lambda x: keras.layers.Concatenate(axis=1)([x, x]), "Concatenate"),
        (lambda x: keras.layers.UpSampling2D()(x), "UpSampling2D"),
        (lambda x: x * keras.layers.AveragePooling2D(8)(x), "several sizes"),
        (lambda x: x * keras.layers.GlobalAveragePooling2D(keepdims=True)(x), "sees the whole image"),
    ],
)
def test_what_may_mix_positions_is_refused(mixes, says):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    with pytest.raises(UserError, match=says):
        ReceptiveFields(keras.Model(inputs, {"C0": mixes(x)}), "C0", (8, 8))


def test_wrong_use_names_the_argument():
    backbone, images = fakes.backbone((None, None)), fakes.images(1)["image"]
    with pytest.raises(UserError, match="tap: expected one of C1"):
        explain.patches(backbone, images, "C9", [0])
    with pytest.raises(UserError, match="channels: C1 has channels 0 to 3"):
        explain.patches(backbone, images, "C1", [4])
    gated = api.backbone("efficientnet_b0", input_shape=(64, 64, 3), weights=None)
    with pytest.raises(UserError, match="sees the whole image"):
        ReceptiveFields(gated, "C2", (64, 64))
