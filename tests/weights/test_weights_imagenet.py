from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from visiontasks import catalog
from visiontasks.errors import UserError
from visiontasks.weights.imagenet import class_names, imagenet_classifier, last_layer

DAISIES = Path(__file__).resolve().parents[2] / "../shared/data/flowers/val/daisy"


def test_names_are_a_thousand_and_differ():
    names = class_names()
    assert len(names) == 1000 == len({n.lower() for n in names})
    known = {0: "tench", 1: "goldfish", 207: "golden retriever", 281: "tabby", 388: "giant panda", 985: "daisy"}
    known |= {134: "crane (bird)", 517: "crane (machine)", 817: "sports car", 999: "toilet tissue"}
    assert {i: names[i] for i in known} == known


def test_lite0_knows_a_daisy():
    if not DAISIES.is_dir():
        pytest.skip("the flowers data set is not beside the project")
    pictures = [cv2.imread(str(file))[..., ::-1] for file in sorted(DAISIES.glob("*.jpg"))[:10]]
    pictures = np.stack([cv2.resize(p, (224, 224), interpolation=cv2.INTER_AREA) for p in pictures])
    backbone = catalog.find("backbones", "efficientnet_lite0").load()(weights="imagenet")
    arguments, ((kernel, bias),) = imagenet_classifier("efficientnet_lite0")
    best = (backbone.predict(pictures, verbose=0)["top"].mean((1, 2)) @ kernel + bias).argmax(1)
    assert [arguments["classes"][i] for i in best].count("daisy") >= 8


@pytest.mark.parametrize("variant", ["MobileNet", "MobileNetV2", "EfficientNetB0", "ResNet50"])
def test_last_layer_rebuilds_the_whole_network(variant):
    """Pooling, kernel and bias on the features that feed them give the network's own probabilities."""
    network = getattr(keras.applications, variant)(weights=None, input_shape=(64, 64, 3))
    kernel, bias = last_layer(network)
    assert kernel.shape[1:] == bias.shape == (1000,)
    pooling = next(x for x in reversed(network.layers) if isinstance(x, keras.layers.GlobalAveragePooling2D))
    split = keras.Model(network.input, [pooling.input, network.output])
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    features, expected = map(keras.ops.convert_to_numpy, split(pixels))
    got = keras.ops.convert_to_numpy(keras.ops.softmax(features.mean((1, 2)) @ kernel + bias))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("variant", ["VGG16", "MobileNetV3Small", "ConvNeXtTiny"])
def test_other_ends_are_refused(variant):
    network = getattr(keras.applications, variant)(weights=None, input_shape=(32, 32, 3))
    with pytest.raises(UserError, match="ends in more than"):
        last_layer(network)


def test_backbones_without_a_classifier_say_so():
    with pytest.raises(UserError, match="unet_encoder comes without"):
        imagenet_classifier("unet_encoder")
