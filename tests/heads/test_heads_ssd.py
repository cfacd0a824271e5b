"""SSD's networks: the default boxes of the paper's two sizes, and what one learns where nothing matches."""

import fakes
import keras
import numpy as np
import pytest

from visiontasks import api
from visiontasks.backbones.backbone import taps_of
from visiontasks.heads.ssd import SSD
from visiontasks.model import VisionModel
from visiontasks.recipe import reading as recipe


@pytest.mark.parametrize(("name", "count"), [("ssd_coco", 8732), ("ssd_voc", 8732), ("ssd512_voc", 24564)])
def test_the_papers_networks_have_their_default_boxes(name, count):
    """Liu et al. 2016, sections 2.2 and 3.1, and table 7."""
    made = recipe.read(name)
    arguments = {key: value for key, value in made.head.items() if key != "name"}
    side = made.data.size[0]
    backbone = api.backbone("vgg16", input_shape=(side, side, 3), ceil_pooling=True)
    head = SSD(20, **arguments)
    taps = {name: taps_of(backbone)[name] for name in ("C3", "C4", "image")}
    head.build(taps)
    features = {name: keras.KerasTensor(tap.shape) for name, tap in taps.items()}
    assert head.compute_output_spec(features)["anchors"].shape == (None, count, 4)


def test_a_level_of_huge_values_gives_small_initial_logits():
    """EfficientNet-Lite's levels come with a deviation of 7: without batch norms the first loss would be 80."""
    rng = np.random.default_rng(0)
    features = {f"C{n}": 50 * rng.normal(size=(2, 64 >> n, 64 >> n, 32)).astype("float32") for n in (3, 4, 5)}
    features["image"] = np.zeros((2, 64, 64, 3), "uint8")
    sizes = {}
    for batch_norm in (True, False):
        keras.utils.set_random_seed(0)
        head = SSD(3, batch_norm=batch_norm)
        head.build(fakes.taps({tap: x.shape[1:] for tap, x in features.items()}))
        logits = keras.ops.convert_to_numpy(head(features, training=True)["classes"])
        sizes[batch_norm] = np.abs(logits).max()
    assert sizes[True] < 8 < 40 < sizes[False]


def test_steps_for_images_of_another_size_are_an_error():
    arguments = {"levels": ["C1", "C2"], "extra": ["half"], "extra_filters": [8], "steps": [2, 4, 8]}
    VisionModel(fakes.backbone((64, 64)), SSD(3, **arguments))
    with pytest.raises(ValueError, match="steps: expected .* about 8 for 8 cells of an image of 64; got 16"):
        VisionModel(fakes.backbone((64, 64)), SSD(3, **arguments | {"steps": [2, 4, 16]}))
    of_any = VisionModel(fakes.backbone(), SSD(3, **arguments | {"steps": [2, 4, 16]}))
    with pytest.raises(ValueError, match="steps: expected .* about 8 for 8 cells of an image of 64; got 16"):
        of_any(np.zeros((1, 64, 64, 3), np.uint8))
