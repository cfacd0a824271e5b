"""The memory estimate of a dry run, against what the layers really put out."""

import dataclasses
import math

import fakes
import keras
import numpy as np
import pytest

from visiontasks import api, build
from visiontasks.heads.unet import UNet
from visiontasks.model import VisionModel
from visiontasks.step_memory import step_memory
from visiontasks.training.estimate import fitting_batch, step_bytes
from visiontasks.training.random_state import random_states


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_activations_are_those_of_a_forward_pass(upsampling, monkeypatch):
    backbone = api.backbone("unet_encoder", filters=4, depth=2, input_shape=(32, 48, 3))
    model = VisionModel(backbone, UNet(3, filters=[8], upsampling=upsampling))
    values, call = [], keras.layers.Layer.__call__

    def counted(layer, *args, **kwargs):
        out = call(layer, *args, **kwargs)
        if not list(layer._flatten_layers(include_self=False, recursive=False)):
            values.append(math.prod(out.shape[1:]))
        return out

    monkeypatch.setattr(keras.layers.Layer, "__call__", counted)
    model(np.zeros((1, 32, 48, 3), np.uint8), training=True)
    monkeypatch.undo()
    estimate = step_bytes(model, batch=2)
    assert estimate["activations"] == pytest.approx(2 * 4 * sum(values), rel=0.1)
    assert estimate["weights"] == 4 * model.count_params()


def test_of_several_sizes_the_largest_counts_and_nothing_is_drawn_for_it():
    words = [
        "backbone={name: unet_encoder, filters: 4, depth: 2, weights: gone.keras}",
        "head={name: unet, classes: 3}",
    ]
    several, _ = build.recipe("unet_seg", [*words, "data.sizes=[[32, 48], [64, 96]]"])
    largest, _ = build.recipe("unet_seg", [*words[1:], "backbone={name: unet_encoder, filters: 4, depth: 2}"])
    keras.utils.set_random_seed(1)
    model = build.model(largest.replace(data=dataclasses.replace(largest.data, size=(64, 96))))
    before = random_states()
    assert step_memory(None, several, None) == step_bytes(model, several.data.batch)
    assert random_states() == before


@pytest.mark.parametrize(("room", "fits"), [(200, None), (230, 1), (350, 4), (1000, 16), (10**9, 16)])
def test_item_72_the_batch_that_fits_is_a_power_of_two_below_the_one_that_did_not(room, fits):
    memory = {"weights": 50, "training state": 150, "activations": 640}  # of 32 images: 20 each, and a quarter more
    assert fitting_batch(memory, 32, room) == fits


def test_half_precision_takes_half():
    sizes = {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        model = VisionModel(fakes.backbone((32, 32)), UNet(3))
        sizes[policy] = step_bytes(model, batch=1)["activations"]
    assert 0.45 < sizes["mixed_bfloat16"] / sizes["float32"] < 0.6
