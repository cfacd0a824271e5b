"""Backbones whose last strides became dilations: each sees what the strided network sees, at more positions."""

import fakes
import families
import keras
import numpy as np
import pytest

from visiontasks import api
from visiontasks.backbones import resnet
from visiontasks.backbones.backbone import Graph, levels, taps_of
from visiontasks.backbones.cost import layer_costs
from visiontasks.errors import UserError
from visiontasks.heads.unet import UNet
from visiontasks.model import VisionModel

STRIDES = {
    8: {"C1": 2, "C2": 4, "C3": 8, "C4": 8, "C5": 8},
    16: {"C1": 2, "C2": 4, "C3": 8, "C4": 16, "C5": 16},
    32: {"C1": 2, "C2": 4, "C3": 8, "C4": 16, "C5": 32},
}
NAMES = ["resnet18", "resnext50", "vgg11"]


@pytest.fixture(autouse=True)
def _fewer_blocks(monkeypatch):
    """Of the grouped network, slow on a CPU: two blocks show what six do."""
    monkeypatch.setitem(resnet._FORMS, "resnext50", ((1, 1, 2, 2), *resnet._FORMS["resnext50"][1:]))


@pytest.mark.parametrize("name", NAMES)
def test_every_few_positions_are_those_of_the_strided_network(name):
    """Which takes the same weights as they are."""
    keras.utils.set_random_seed(0)
    strided = api.backbone(name, input_shape=(64, 96, 3))
    images = fakes.images(1, (64, 96))["image"]
    expected = strided(images)
    for stride in (8, 16):
        dilated = api.backbone(name, input_shape=(64, 96, 3), output_stride=stride)
        dilated.set_weights(strided.get_weights())
        found = dilated(images)
        assert levels(dilated) == ({"C0": 1} if name == "vgg11" else {}) | STRIDES[stride]
        for level, tap in taps_of(dilated).items():
            if level in levels(dilated):
                assert tap.stride == levels(dilated)[level] and tap.size == (64 // tap.stride, 96 // tap.stride)
                step = 2 ** int(level[1]) // tap.stride
                a, b = map(keras.ops.convert_to_numpy, (found[level], expected[level]))
                np.testing.assert_allclose(a[:, ::step, ::step], b, rtol=1e-4, atol=1e-4 * b.std(), err_msg=level)


@pytest.mark.parametrize("name", NAMES)
def test_receptive_fields_stay_and_costs_grow(name, without_weights):
    def of(stride):
        backbone = api.backbone(name, input_shape=(64, 64, 3), output_stride=stride)
        graph = Graph(backbone.input, list(backbone.output.values()))
        fields = {level: graph.receptive_field(backbone.output[level]) for level in levels(backbone)}
        return fields, [c.multiply_adds for c in layer_costs(backbone) if c.multiply_adds]

    (fields, before), (same, after) = of(32), of(8)
    assert fields == same and max(fields.values()) > 64
    # in ResNet the last stage has 16 times as many positions; in VGG, whose last pool has nothing behind it, 4 times
    assert before[0] == after[0] and before[-1] * (4 if name == "vgg11" else 16) == after[-1]


def test_heads_take_the_deepest_level_of_each_stride(monkeypatch):
    monkeypatch.setitem(families.FAMILIES, "resnet18", ({"output_stride": 8}, 64))
    for name, narrow in families.NARROW.items():
        kept = {key: value for key, value in narrow.items() if key not in ("levels", "convs", "tap")}
        monkeypatch.setitem(families.NARROW, name, kept)
    monkeypatch.setattr(families, "UNET", [32, 16, 16])
    model, batch = families.model_of("resnet18", list(fakes.trained_heads()))
    outputs = model(batch["image"], training=True)
    for name, head in model.heads.items():
        assert [tap.name for tap in head.tapped if tap.stride == 8] in (["C5"], []), name
        for term, value in head.compute_losses(batch, outputs[name]).items():
            assert np.isfinite(float(value.mean)) and float(value.mean) > 0, (name, term)
    assert model.stride == 8


def test_two_levels_of_one_stride_are_an_error_that_names_them():
    backbone = api.backbone("vgg11", output_stride=16)
    with pytest.raises(ValueError, match=r"levels: expected one level a stride, got the strides {'C4': 16, 'C5': 16}"):
        VisionModel(backbone, UNet(2, levels=["C4", "C5"]))


def test_what_keras_s_network_does_not_have_is_refused():
    for name in ("vgg16", "resnet50"):
        with pytest.raises(UserError, match="output_stride do"):
            api.backbone(name, weights="imagenet:keras", output_stride=8)
