"""What all heads of segmentation do alike."""

import fakes
import keras
import numpy as np
import pytest

from visiontasks.heads.anomaly import Anomaly
from visiontasks.heads.deconvnet import DeconvNet
from visiontasks.heads.fcn import FCN
from visiontasks.heads.unet import UNet

RNG = np.random.default_rng(0)
FEATURES = {"C1": (20, 20, 4), "C3": (5, 5, 12), "image": (40, 40, 3)}
FEATURES = {name: RNG.normal(size=(1, *shape)).astype("float32") for name, shape in FEATURES.items()}


def outputs(head, length):
    """What a head makes of features of 40 pixels, of which the finer ones are cut to an image of `length` pixels."""
    keras.utils.set_random_seed(0)
    lengths = {"C1": length // 2, "C3": 5, "image": length}
    features = {name: FEATURES[name][:, :n, :n] for name, n in lengths.items()}
    head = head()
    head.build(fakes.taps({name: x.shape[1:] for name, x in features.items()}))
    embedded = isinstance(head, Anomaly)
    features = {name: keras.ops.convert_to_tensor(x) for name, x in features.items()}
    return keras.ops.convert_to_numpy(head._embedding(features) if embedded else head(features))


@pytest.mark.parametrize(
    ("head", "inside"),
    [
        (lambda: FCN(3, levels=["C1", "C3"]), 30),
        (lambda: UNet(3, levels=["C1", "C3"], upsampling="resize"), 22),
        (lambda: UNet(3, levels=["C1", "C3"]), 22),
        (lambda: DeconvNet(3, levels=["C1", "C3"]), 22),
        (lambda: Anomaly(2, levels=["C1", "C3"]), 18),  # cells of C1
    ],
    ids=["fcn", "unet_resize", "unet", "deconvnet", "anomaly"],
)
def test_levels_four_times_coarser_stay_over_their_pixels_where_their_size_was_rounded_up(head, inside):
    """36 pixels have 18 cells at stride 2 and 5 at stride 8, as 40 have: away from the border nothing changes."""
    whole, cut = outputs(head, 40), outputs(head, 36)
    assert cut.shape[1] < whole.shape[1] and whole[:, :inside, :inside].std() > 0.01
    np.testing.assert_allclose(cut[:, :inside, :inside], whole[:, :inside, :inside], atol=1e-5)
