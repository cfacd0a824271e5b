"""Compared with keras.applications used directly: its network, its preprocessing, its files."""

import math

import h5py
import keras
import numpy as np
import pytest
from keras.src.applications import imagenet_utils
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from visiontasks.backbones.keras_application import keras_application
from visiontasks.errors import UserError
from visiontasks.registry import catalog

MODULES = {
    "VGG16": "vgg16",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "InceptionV3": "inception_v3",
    "Xception": "xception",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "DenseNet121": "densenet",
    "EfficientNetB0": "efficientnet",
    "EfficientNetV2B0": "efficientnet_v2",
    "ConvNeXtTiny": "convnext",
}
SIZE = 80  # Inception and Xception take no less
IMAGES = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)


def published_file(variant, path):
    """A file as Keras publishes them, with random weights, and ImageNet's statistics where the network keeps them.

    Every layer counts in the output: kernels keep the size of a signal, biases and scales are random, also those that
    begin at 0 or 1e-6, and the statistics of batch norms are the signal's own.
    """
    network = getattr(keras.applications, variant)(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            if layer.weights:
                layer.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(0)])
            continue
        for variable in layer.weights:
            variable.assign(random_values(rng, variable))
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5  # one pass; half the drawn variance stays, so that no channel is amplified
    keras.utils.set_random_seed(0)  # of stochastic depth
    network(preprocess(variant, IMAGES), training=True)
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return path


def random_values(rng, variable):
    """Kernels after He et al. 2015; all else around 0 or, where it multiplies, around 1."""
    if "kernel" not in variable.name:
        low = 0.5 if variable.name in ("gamma", "moving_variance") else -0.5
        return rng.uniform(low, low + 1, variable.shape)
    shape = tuple(variable.shape)
    fan_in = math.prod(shape[:2] if shape[-1] == 1 else shape[:-1])  # a depthwise one filters each channel alone
    return rng.standard_normal(shape, np.float32) * (2 / fan_in) ** 0.5


def preprocess(variant, images):
    return getattr(keras.applications, MODULES[variant]).preprocess_input(images.astype("float32"))


def c5(backbone):
    return keras.ops.convert_to_numpy(backbone(IMAGES)["C5"])


@pytest.mark.parametrize("variant", MODULES)
def test_equals_keras_with_its_published_weights(variant, tmp_path, monkeypatch, request):
    path = published_file(variant, tmp_path / "a_notop.h5")
    request.getfixturevalue("without_weights")  # from here on: what the file does not fill shows, and nothing is drawn
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(path))
    network = getattr(keras.applications, variant)(include_top=False, weights="imagenet", input_shape=(SIZE, SIZE, 3))
    expected = keras.ops.convert_to_numpy(network(preprocess(variant, IMAGES)))
    got = c5(keras_application(variant, weights="imagenet", input_shape=(SIZE, SIZE, 3)))
    scale = np.abs(expected).max()
    assert scale > 1e-6 and np.isfinite(scale)
    np.testing.assert_allclose(got / scale, expected / scale, atol=2e-5)


def test_a_kernel_in_the_middle_counts_in_what_is_compared(tmp_path):
    """What the comparisons above rest on: with statistics drawn at random the signal dies, and they see no kernel."""
    path = published_file("MobileNet", tmp_path / "a_notop.h5")
    backbone = keras_application("MobileNet", weights=str(path), input_shape=(SIZE, SIZE, 3))
    expected = c5(backbone)
    kernel = backbone.get_layer("conv_pw_3").kernel
    kernel.assign(keras.ops.zeros_like(kernel))
    assert np.abs(c5(backbone) - expected).max() > 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("variant", ["MobileNet", "EfficientNetB0"])
def test_files_of_keras_and_our_own_give_the_same(variant, tmp_path, monkeypatch, request):
    path = published_file(variant, tmp_path / "a_notop.h5")
    request.getfixturevalue("without_weights")
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(path))
    downloaded = keras_application(variant, weights="imagenet", input_shape=(SIZE, SIZE, 3))
    expected = c5(downloaded)
    downloaded.save_weights(tmp_path / "own.weights.h5")
    downloaded.save(tmp_path / "own.keras")
    for file in (path, tmp_path / "own.weights.h5", tmp_path / "own.keras"):
        loaded = keras_application(variant, weights=str(file), input_shape=(SIZE, SIZE, 3))
        np.testing.assert_array_equal(c5(loaded), expected, err_msg=file.name)


def test_efficientnet_normalises_without_weights_too():
    backbone = keras_application("EfficientNetB0", input_shape=(SIZE, SIZE, 3))
    layer = next(x for x in backbone.layers if isinstance(x, keras.layers.Normalization))
    pixels = keras.ops.convert_to_numpy(keras.Model(backbone.input, layer.output)(IMAGES))
    expected = imagenet_utils.preprocess_input(IMAGES.astype("float32"), mode="torch")
    np.testing.assert_allclose(pixels, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("keras_vgg16", {"C0": 64, "C1": 128, "C2": 256, "C3": 512, "C4": 512, "C5": 512}),
        ("keras_resnet50", {"C1": 64, "C2": 256, "C3": 512, "C4": 1024, "C5": 2048}),
        ("inception_v3", {"C1": 64, "C2": 192, "C3": 288, "C4": 768, "C5": 2048}),
        ("convnext_tiny", {"C2": 96, "C3": 192, "C4": 384, "C5": 768}),
    ],
)
def test_channels_as_in_the_papers(name, channels):
    backbone = catalog.find("backbones", name).load()()
    assert {tap: tensor.shape[-1] for tap, tensor in backbone.output.items()} == channels


@pytest.mark.parametrize(("name", "parameters"), [("keras_vgg16", 14_714_688), ("keras_resnet50", 23_587_712)])
def test_parameters_as_published(name, parameters):
    assert catalog.find("backbones", name).load()().count_params() == parameters


def test_offline_says_what_to_do(monkeypatch):
    def offline(*_, **__):
        raise Exception("URL fetch failure on https://example.org/a.h5: name resolution")

    monkeypatch.setattr(file_utils, "get_file", offline)
    with pytest.raises(UserError, match=r"URL fetch failure.*~/\.keras/models.*efficientnet_lite0"):
        keras_application("MobileNet", weights="imagenet")


def test_too_small_an_image():
    with pytest.raises(UserError, match=r"input_shape: InceptionV3 cannot be built for \(40, 40, 3\)"):
        keras_application("InceptionV3", input_shape=(40, 40, 3))


def test_nasnet_takes_no_free_side():
    with pytest.raises(UserError, match=r"NASNetMobile needs a fixed size such as \[224, 224, 3\]"):
        keras_application("NASNetMobile")


def test_every_variant_exists():
    for part in catalog.parts("backbones").values():
        if part.symbol == "keras_application":
            assert callable(getattr(keras.applications, part.variant))
