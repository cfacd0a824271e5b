import inspect
import sys

import keras
import pytest

from visiontasks import api
from visiontasks.backbones import resnet_cifar
from visiontasks.backbones.backbone import deep_recursion
from visiontasks.errors import UserError
from visiontasks.heads.classifier import Classifier
from visiontasks.model import VisionModel


def test_drop_connect_grows_from_block_to_block_to_all_of_it_at_the_last():
    backbone = api.backbone("resnet18", drop_connect=0.8)
    rates = {layer.name: layer.rate for layer in backbone.layers if isinstance(layer, keras.layers.Dropout)}
    assert list(rates) == [f"layer{1 + i // 2}_{i % 2}_drop" for i in range(8)]
    assert list(rates.values()) == pytest.approx([0.1 * i for i in range(1, 9)])


OTHERS = [{"norm": "group"}, {"drop_connect": 0.1}, {"epsilon": 0.0}, {"strict": False}, {"output_stride": 8}]


@pytest.mark.parametrize("arguments", OTHERS)
def test_arguments_that_keras_s_network_does_not_have_are_refused(arguments):
    with pytest.raises(UserError, match="do not apply"):
        api.backbone("resnet50", weights="imagenet:keras", **arguments)


def test_every_normalisation_has_the_epsilon():
    for norm, count in (("batch", 20), ("group", 20)):
        layers = api.backbone("resnet18", norm=norm, epsilon=1e-3).layers
        assert [layer.epsilon for layer in layers if hasattr(layer, "epsilon")] == [1e-3] * count


def test_a_very_deep_network_loads_where_none_was_built(tmp_path):
    """Keras walks a graph by recursion; building one raises Python's limit, and so must loading one.

    A third of the depth that reaches a fresh process's limit, with less than half of that limit.
    """
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack(0)) + 300)
        model = VisionModel(resnet_cifar.resnet_cifar(110, input_shape=(16, 16, 3)), Classifier(2))
        model.save(tmp_path / "deep.keras")
        again = keras.saving.load_model(tmp_path / "deep.keras")
    finally:
        sys.setrecursionlimit(limit)
    assert again.count_params() == model.count_params()


def test_the_raised_limit_is_enough_for_the_deepest_network_published():
    """A block of two convolutions is seven layers, and Keras needs fewer than four calls for each."""
    with deep_recursion():
        assert sys.getrecursionlimit() > 4 * 7 * (max(resnet_cifar.NAMES.values()) - 2) / 2


def test_frozen_statistics_of_random_weights_are_warned_of():
    with pytest.warns(UserWarning, match="normalizes nothing in resnet18"):
        api.backbone("resnet18", norm="frozen_batch")
