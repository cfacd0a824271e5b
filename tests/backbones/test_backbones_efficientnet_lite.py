import keras
import numpy as np
import pytest

from visiontasks.backbones.efficientnet_lite import efficientnet_lite

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("variant", "channels", "blocks"),
    [
        (0, {"C1": 16, "C2": 24, "C3": 40, "C4": 112, "C5": 320, "top": 1280}, 16),
        (2, {"C1": 16, "C2": 24, "C3": 48, "C4": 120, "C5": 352, "top": 1280}, 21),
        (4, {"C1": 24, "C2": 32, "C3": 56, "C4": 160, "C5": 448, "top": 1280}, 30),
    ],
)
def test_widths_and_depths(variant, channels, blocks):
    backbone = efficientnet_lite(variant)
    assert {tap: tensor.shape[-1] for tap, tensor in backbone.output.items()} == channels
    assert sum(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in backbone.layers) == blocks


def test_drop_connect_drops_whole_branches_in_training_alone():
    backbone = efficientnet_lite(0, drop_connect=0.5)
    drops = [layer for layer in backbone.layers if isinstance(layer, keras.layers.Dropout)]
    rates = [layer.rate for layer in drops]
    assert len(rates) == 9 and rates == sorted(rates) and 0 < rates[0] < rates[-1] < 0.5
    branch = keras.ops.ones((1000, 2, 2, 3))
    got = keras.ops.convert_to_numpy(drops[-1](branch, training=True))
    assert (np.ptp(got, axis=(1, 2, 3)) == 0).all()  # an image keeps all of the branch or none
    np.testing.assert_allclose((got[:, 0, 0, 0] == 0).mean(), rates[-1], atol=0.06)
    plain = efficientnet_lite(0)
    plain.set_weights(backbone.get_weights())
    for a, b in zip(backbone(IMAGES).values(), plain(IMAGES).values(), strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (a, b)))
