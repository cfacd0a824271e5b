import fakes
import keras
import numpy as np
import pytest

from visiontasks import api
from visiontasks.heads.deconvnet import DeconvNet, _unpooled
from visiontasks.model import VisionModel

to_numpy = keras.ops.convert_to_numpy


def test_on_vgg_it_unpools_where_vgg_pooled():
    backbone = api.backbone("vgg11", input_shape=(64, 96, 3))
    pyramid = backbone(fakes.images(2, (64, 96))["image"])
    pooled, level = to_numpy(pyramid["C5"]), to_numpy(pyramid["C4"])
    spread = to_numpy(_unpooled(pyramid["C5"], pyramid["C4"], 2))
    kept = spread != 0
    np.testing.assert_array_equal(spread[kept], level[kept])
    # each maximum once; a ReLU leaves windows of zeros, whose maximum is 0
    assert kept.sum() == (pooled > 0).sum() > 0
    np.testing.assert_array_equal(to_numpy(keras.layers.MaxPooling2D(2)(spread)), pooled)


def test_on_vgg16_the_decoder_mirrors_it(without_weights):
    taps = fakes.taps(
        {f"C{n}": (224 // 2**n, 224 // 2**n, c) for n, c in enumerate((64, 128, 256, 512, 512, 512))}
        | {"image": (224, 224, 3)}
    )
    head = DeconvNet(21, bottleneck=8)
    head.build({name: taps[name] for name in head.taps(taps)})
    # conv5_3 down to conv1_2; conv1_1 is the scores
    assert [[layer.conv.filters for layer in block] for block in head.blocks] == [
        [512, 512, 512],
        [512, 512, 256],
        [256, 256, 128],
        [128, 64],
        [64, 64],
    ]
    assert not any(head.projections)
    assert [layer.kernel.shape for layer in head.dense] == [(7, 7, 512, 8), (1, 1, 8, 8), (7, 7, 512, 8)]


@pytest.mark.parametrize("level", [(8, 10), (7, 9), (6, 8)])
def test_odd_sizes_are_unpooled_to_the_level(level):
    """Poolings that leave out the last row, that keep it, and a level smaller than padding would make it."""
    x = np.random.default_rng(0).uniform(1, 2, (1, 4, 5, 3)).astype("float32")
    maps = np.random.default_rng(1).normal(size=(1, *level, 3)).astype("float32")
    spread = to_numpy(_unpooled(x, maps, 2))
    assert spread.shape == maps.shape
    floor = to_numpy(_unpooled(x[:, : level[0] // 2, : level[1] // 2], maps, 2))
    assert floor.shape == maps.shape and not floor[:, level[0] // 2 * 2 :].any()


def test_a_bottleneck_fixes_the_size():
    with pytest.raises(ValueError, match=r"bottleneck: .* input_shape"):
        VisionModel(fakes.backbone(), DeconvNet(3, bottleneck=4))
    model = VisionModel(fakes.backbone((32, 48)), DeconvNet(3, bottleneck=4))
    assert model(fakes.images(2, (32, 48))["image"]).shape == (2, 32, 48, 3)


def test_as_many_counts_as_steps():
    with pytest.raises(ValueError, match="convs: expected 2, one for each step up from C3 to C1"):
        VisionModel(fakes.backbone(), DeconvNet(3, convs=[1, 1, 1]))
