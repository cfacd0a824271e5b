import keras
import pytest

from visiontasks import build
from visiontasks.errors import UserError


def test_drop_connect_grows_from_none_at_the_first_block_to_all_of_it_at_the_last():
    backbone = build.backbone("resnet18", drop_connect=0.7)
    rates = {layer.name: layer.rate for layer in backbone.layers if isinstance(layer, keras.layers.Dropout)}
    assert list(rates) == [f"layer{1 + i // 2}_{i % 2}_drop" for i in range(1, 8)]
    assert list(rates.values()) == pytest.approx([0.1 * i for i in range(1, 8)])


@pytest.mark.parametrize("arguments", [{"norm": "group"}, {"drop_connect": 0.1}, {"strict": False}])
def test_arguments_that_keras_s_network_does_not_have_are_refused(arguments):
    with pytest.raises(UserError, match="do not apply"):
        build.backbone("resnet50", weights="imagenet:keras", **arguments)
