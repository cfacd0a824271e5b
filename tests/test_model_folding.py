"""A folded model predicts what the model predicts, with fewer operations."""

import keras
import numpy as np
import pytest

import visiontasks as vt
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.model_folding import Folding, folded

HEADS = {
    "classifier": lambda: vt.heads.Classifier(3),
    "unet": lambda: vt.heads.UNet(3, filters=[16, 8, 8, 8, 8]),
    "yolo": lambda: vt.heads.YOLO(3, variant="n"),
    "ssd": lambda: vt.heads.SSD(3),
}
# every kind of normalization that a convolution precedes; what stays follows a sum, a concatenation, or several layers
CASES = [
    ("efficientnet_lite0", "classifier", 0),
    ("efficientnet_lite0", "unet", 0),
    ("efficientnet_lite0", "yolo", 0),
    ("efficientnet_lite0", "ssd", 3),
    ("resnet18", "classifier", 0),
    ("resnet18 frozen_batch", "classifier", 0),
    ("xception", "classifier", 0),
    ("densenet121", "classifier", 62),
    ("vgg11", "classifier", 0),
    ("efficientnet_b0", "classifier", 0),  # whose Normalization computes with a copy of its weights
]


def trained_looking(model):
    """Give every weight a value as training might leave it: no normalization is the identity."""
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            channels = layer.moving_mean.shape
            for variable, low, high in (
                (layer.gamma, 0.5, 1.5),
                (layer.beta, -0.5, 0.5),
                (layer.moving_mean, -0.5, 0.5),
                (layer.moving_variance, 0.5, 1.5),
            ):
                if variable is not None:
                    variable.assign(rng.uniform(low, high, channels))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.uniform(-0.5, 0.5, layer.bias.shape))


def norms(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, BatchNormalization)]


@pytest.mark.parametrize(("backbone", "head", "stay"), CASES)
def test_outputs_are_equal_and_no_norm_is_left_that_could_be_folded(backbone, head, stay):
    keras.utils.set_random_seed(0)
    name, *norm = backbone.split()
    arguments = {"norm": norm[0]} if norm else {}
    model = vt.VisionModel(vt.backbone(name, input_shape=(96, 96, 3), **arguments), HEADS[head]())
    trained_looking(model)
    before = [keras.ops.convert_to_numpy(variable) for variable in model.weights]
    copy = folded(model)
    assert sum(not layer._only_shifts for layer in norms(copy)) == stay
    assert not any(layer._only_shifts for layer in norms(model))
    for a, b in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(a, keras.ops.convert_to_numpy(b))
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    for a, b in zip(keras.tree.flatten(model(images)), keras.tree.flatten(copy(images)), strict=True):
        np.testing.assert_allclose(b, a, atol=2e-5 * np.abs(a).max())


@pytest.mark.parametrize("arguments", [{"scale": False}, {"center": False}, {"momentum": 0.5}], ids=str)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    "convolution",
    [
        lambda bias: keras.layers.Conv2D(8, 3, use_bias=bias, groups=2),
        lambda bias: keras.layers.Conv2DTranspose(8, 3, use_bias=bias),
        lambda bias: keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=bias),
        lambda bias: keras.layers.SeparableConv2D(8, 3, use_bias=bias),
    ],
    ids=["conv", "transpose", "depthwise", "separable"],
)
def test_every_kind_of_convolution(convolution, use_bias, arguments):
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Conv2D(4, 1)(keras.ops.cast(inputs, "float32"))
    x = BatchNormalization(**arguments)(convolution(use_bias)(x))
    model = vt.VisionModel(keras.Model(inputs, {"C1": x}), vt.heads.Classifier(2))
    trained_looking(model)
    copy = folded(model)
    assert [layer._only_shifts for layer in norms(copy)] == [True]
    images = np.random.default_rng(1).integers(0, 9, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_allclose(copy(images), model(images), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_folded_stays():
    """An activation between, two users of the convolution, and a layer that is called twice."""
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.ops.cast(inputs, "float32")
    x = BatchNormalization()(keras.layers.Conv2D(4, 3, activation="relu")(x))
    split = keras.layers.Conv2D(4, 3)(x)
    x = BatchNormalization()(split) + split
    twice, shared = keras.layers.Conv2D(4, 1), BatchNormalization()
    x = shared(twice(shared(twice(x))))
    model = vt.VisionModel(keras.Model(inputs, {"C1": x}), vt.heads.Classifier(2))
    trained_looking(model)
    copy = folded(model)
    assert not any(layer._only_shifts for layer in norms(copy))
    images = np.random.default_rng(1).integers(0, 9, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_allclose(copy(images), model(images), rtol=1e-6, atol=1e-6)


def test_a_normalization_of_another_axis_stays():
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    x = BatchNormalization(axis=1)(keras.layers.Conv2D(14, 3)(keras.ops.cast(inputs, "float32")))
    model = vt.VisionModel(keras.Model(inputs, {"C1": x}), vt.heads.Classifier(2))
    assert not any(layer._only_shifts for layer in norms(folded(model)))


class Unregistered(keras.layers.Layer):
    """A layer that no config can bring back."""

    def call(self, x):
        return x


def test_a_kernel_with_lora_stays():
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Conv2D(4, 3, name="conv")(keras.ops.cast(inputs, "float32"))
    model = vt.VisionModel(keras.Model(inputs, {"C1": BatchNormalization()(x)}), vt.heads.Classifier(2))
    trained_looking(model)
    model.backbone.get_layer("conv").enable_lora(2)
    copy = folded(model)
    assert not any(layer._only_shifts for layer in norms(copy))
    images = np.random.default_rng(1).integers(0, 9, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_allclose(copy(images), model(images), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["unregistered", "lambda"])
def test_a_model_that_cannot_be_rebuilt_predicts_itself(kind):
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Conv2D(4, 3, name="conv")(keras.ops.cast(inputs, "float32"))
    x = {"unregistered": Unregistered(), "lambda": keras.layers.Lambda(lambda x: x)}[kind](x)
    model = vt.VisionModel(keras.Model(inputs, {"C1": BatchNormalization()(x)}), vt.heads.Classifier(2))
    assert folded(model) is model


def test_a_predictor_folds_once_and_again_after_training():
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    x = BatchNormalization()(keras.layers.Conv2D(4, 3)(keras.ops.cast(inputs, "float32") / 255))
    model = vt.VisionModel(keras.Model(inputs, {"C1": x}), vt.heads.Classifier(2), preprocess={"size": [16, 16]})
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    folding, predictor = Folding(model), vt.Predictor(model)
    first = folding()
    assert folding() is first is not model

    def predicted():
        return np.stack([one.scores for one in predictor(list(images))])

    before = predicted()
    np.testing.assert_allclose(before, model.predict(images, verbose=0)["scores"], atol=1e-5)
    model.compile(keras.optimizers.Adam(0.1))
    model.fit(images, np.arange(8, dtype="int32") % 2, verbose=0)
    np.testing.assert_allclose(predicted(), model.predict(images, verbose=0)["scores"], atol=1e-5)
    assert np.abs(predicted() - before).max() > 0.01
    assert folding() is not first
    # whatever weight a user sets
    second = folding()
    kernel = model.backbone.layers[-2].kernel
    kernel.assign(kernel * np.array([1, 1, 1.5, 1]))
    assert folding() is not second
    np.testing.assert_allclose(predicted(), model.predict(images, verbose=0)["scores"], atol=1e-5)
