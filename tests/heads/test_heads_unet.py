import fakes
import keras
import numpy as np
import pytest

from visiontasks.heads.unet import UNet
from visiontasks.model import VisionModel


@pytest.mark.parametrize("skips", [True, False])
def test_finer_levels_count_only_with_skips(skips):
    keras.utils.set_random_seed(0)
    model = VisionModel(fakes.backbone((32, 32)), UNet(3, skips=skips))
    images = fakes.images(1, (32, 32))["image"]
    head, features = model.heads["unet"], {**model.backbone(images), "image": images}
    finer = {tap.name: keras.ops.zeros_like(features[tap.name]) for tap in head.tapped[:-1]}
    assert finer
    whole, without = (keras.ops.convert_to_numpy(head(some)) for some in (features, features | finer))
    assert whole.shape == (1, 32, 32, 3)
    assert np.allclose(whole, without) != skips
