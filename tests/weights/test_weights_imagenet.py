from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from visiontasks import api
from visiontasks.errors import UserError
from visiontasks.registry import catalog
from visiontasks.weights import torchvision
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
    images = [cv2.imread(str(file))[..., ::-1] for file in sorted(DAISIES.glob("*.jpg"))[:10]]
    images = np.stack([cv2.resize(p, (224, 224), interpolation=cv2.INTER_AREA) for p in images])
    backbone = catalog.find("backbones", "efficientnet_lite0").load()(weights="imagenet")
    arguments, ((kernel, bias),) = imagenet_classifier("efficientnet_lite0")
    best = (backbone.predict(images, verbose=0)["top"].mean((1, 2)) @ kernel + bias).argmax(1)
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


def write_safetensors(path, arrays):
    import json
    import struct

    header, begin = {}, 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [begin, begin + array.nbytes]}
        begin += array.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(array.tobytes())
    return path


def test_the_recipe_takes_hidden_layers_of_a_checkpoint(tmp_path, monkeypatch):
    """AlexNet's three, behind the flattened maps, as `predict recipe=imagenet backbone.name=alexnet` has them."""
    shapes = {"features.0": (64, 3, 11, 11), "features.3": (192, 64, 5, 5), "features.6": (384, 192, 3, 3)}
    shapes |= {"features.8": (256, 384, 3, 3), "features.10": (256, 256, 3, 3)}
    shapes |= {"classifier.1": (4096, 9216), "classifier.4": (4096, 4096), "classifier.6": (1000, 4096)}
    arrays = {}
    for name, shape in shapes.items():
        arrays[f"{name}.weight"] = np.zeros(shape, "float32")
        arrays[f"{name}.bias"] = np.zeros(shape[0], "float32")
    arrays["classifier.6.bias"][388] = 5.0
    path = write_safetensors(tmp_path / "alexnet.safetensors", arrays)
    monkeypatch.setattr(torchvision, "download", lambda file: path)
    model = api.from_recipe("imagenet", "backbone.name=alexnet")
    (head,) = model.heads.values()
    assert head.hidden == (4096, 4096) and head.pooling == "flatten"
    scores = model.predict(np.zeros((1, 224, 224, 3), np.uint8), verbose=0)["scores"]
    assert head.classes[scores[0].argmax()] == "giant panda"
    with pytest.raises(UserError, match=r"data.size: \[288, 288\] does not fit .*data.size=\[224,224\]"):
        api.from_recipe("imagenet", "backbone.name=alexnet", "data.size=[288,288]")


def test_a_tap_without_layers_of_its_own_is_named():
    with pytest.raises(UserError, match="lenet5 comes without ImageNet classification layers"):
        imagenet_classifier("lenet5")
    with pytest.raises(UserError, match="for tap C3"):
        imagenet_classifier("resnet50", "a.pth", "C3")
