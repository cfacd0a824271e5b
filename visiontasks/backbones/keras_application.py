"""Every convolutional model of `keras.applications` as a backbone: one adapter reads the levels from the graph.

The models, their papers and their ImageNet accuracies: https://keras.io/api/applications/
"""

import importlib
import warnings
from pathlib import Path

import keras
import numpy as np

from visiontasks.arguments import InputShape, checked
from visiontasks.backbones.backbone import (
    Graph,
    copy_weights,
    image_input,
    load_weights,
    pyramid_model,
    say_skipped,
)
from visiontasks.errors import UserError
from visiontasks.layers.pixel_normalization import IMAGENET, PixelNormalization
from visiontasks.weights import torchvision

NAMES = {
    "keras_vgg16": "VGG16",
    "keras_vgg19": "VGG19",
    "keras_resnet50": "ResNet50",
    "keras_resnet101": "ResNet101",
    "keras_resnet152": "ResNet152",
    "resnet50_v2": "ResNet50V2",
    "resnet101_v2": "ResNet101V2",
    "resnet152_v2": "ResNet152V2",
    "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
    "xception": "Xception",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_small": "MobileNetV3Small",
    "mobilenet_v3_large": "MobileNetV3Large",
    "densenet121": "DenseNet121",
    "densenet169": "DenseNet169",
    "densenet201": "DenseNet201",
    "nasnet_mobile": "NASNetMobile",
    "nasnet_large": "NASNetLarge",
    "efficientnet_b0": "EfficientNetB0",
    "efficientnet_b1": "EfficientNetB1",
    "efficientnet_b2": "EfficientNetB2",
    "efficientnet_b3": "EfficientNetB3",
    "efficientnet_b4": "EfficientNetB4",
    "efficientnet_b5": "EfficientNetB5",
    "efficientnet_b6": "EfficientNetB6",
    "efficientnet_b7": "EfficientNetB7",
    "efficientnet_v2_b0": "EfficientNetV2B0",
    "efficientnet_v2_b1": "EfficientNetV2B1",
    "efficientnet_v2_b2": "EfficientNetV2B2",
    "efficientnet_v2_b3": "EfficientNetV2B3",
    "efficientnet_v2_s": "EfficientNetV2S",
    "efficientnet_v2_m": "EfficientNetV2M",
    "efficientnet_v2_l": "EfficientNetV2L",
    "convnext_tiny": "ConvNeXtTiny",
    "convnext_small": "ConvNeXtSmall",
    "convnext_base": "ConvNeXtBase",
    "convnext_large": "ConvNeXtLarge",
    "convnext_xlarge": "ConvNeXtXLarge",
}

# the image sizes that Keras's ImageNet weights were trained with, if not 224
SIZES = {"inception_v3": 299, "inception_resnet_v2": 299, "xception": 299, "nasnet_large": 331}
SIZES |= {f"efficientnet_b{n}": size for n, size in enumerate((240, 260, 300, 380, 456, 528, 600), start=1)}
SIZES |= {"efficientnet_v2_b1": 240, "efficientnet_v2_b2": 260, "efficientnet_v2_b3": 300}
SIZES |= {"efficientnet_v2_s": 384, "efficientnet_v2_m": 480, "efficientnet_v2_l": 480}

# the pixel normalization of each family's weights; the other families normalize inside the model
_CAFFE = {"mean": (103.939, 116.779, 123.68), "bgr": True}
_TF = {"mean": (127.5,) * 3, "std": (127.5,) * 3}
_PIXELS = {
    **dict.fromkeys(("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152"), _CAFFE),
    **dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2", "InceptionV3", "InceptionResNetV2", "Xception"), _TF),
    **dict.fromkeys(("MobileNet", "MobileNetV2", "NASNetMobile", "NASNetLarge"), _TF),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), IMAGENET),
}
_RESCALED_TWICE = tuple(f"EfficientNetB{n}" for n in range(8))


@checked
def keras_application(
    variant: str,
    weights: str | None = None,
    input_shape: InputShape = (None, None, 3),
    strict: bool = True,
) -> keras.Model:
    """A model of keras.applications without its classification layers.

    Taps: "C1" to "C5" if the model has them (VGG also has "C0"; ConvNeXt begins at "C2"): at each stride, the last
    feature map that no connection bypasses before the next downsampling. The last level is the model's output. Models
    that convolve without padding (Inception, Xception, NASNet) give maps a few pixels smaller than H / stride.

    Args:
        variant: the model's name in keras.applications.
        weights: "imagenet" (Keras's, downloaded once), "imagenet:torchvision" or a PyTorch checkpoint with
            torchvision's names (Inception v3 and EfficientNet; pooling or padding is then torchvision's too), a `.h5`,
            `.weights.h5` or `.keras` file, or None: random.
        input_shape: (height, width, 3); None for a variable size. Give the size if it is known: with a variable size,
            Keras pads MobileNet and EfficientNet by one pixel differently than in ImageNet training. NASNet needs a
            fixed size.
        strict: whether a PyTorch checkpoint must fit completely; otherwise what fits is loaded.

    Raises:
        UserError: the weights are not available, or the model does not accept the size; the text says what to do.
    """
    if variant.startswith("NASNet") and None in tuple(input_shape):
        # Keras compares the sizes of two cells while it builds, and treats two unknown sizes as equal
        raise UserError(f"{variant} needs a fixed size such as [224, 224, 3]; got {input_shape!r}.", "input_shape")
    inputs = image_input(input_shape)
    x = PixelNormalization(**_PIXELS.get(variant, {}), name="pixels")(inputs)
    # weights are copied in afterwards, so that the layers do not depend on the weights and any file fits
    try:
        application = getattr(keras.applications, variant)(include_top=False, weights=None, input_tensor=x)
    except ValueError as error:
        raise UserError(f"{variant} cannot be built for {tuple(input_shape)}: {error}", "input_shape") from error
    if weights != "imagenet" and variant in torchvision.KERAS_MODELS and torchvision.has_names_of(weights):
        theirs = importlib.import_module(f"visiontasks.weights.{torchvision.KERAS_MODELS[variant]}")
        name = next(name for name, value in NAMES.items() if value == variant)
        application = keras.models.clone_model(application, clone_function=theirs.as_in_pytorch)
        (inputs,), (output,) = application.inputs, application.outputs
        if variant in _RESCALED_TWICE:
            _fold_second_rescaling(application, trained=False)
        file = torchvision.file_of(name, weights)
        say_skipped(theirs.load(application, file, strict), file)
        return pyramid_model(inputs, _levels(inputs, output), variant.lower())
    model = pyramid_model(inputs, _levels(inputs, application.output), variant.lower())
    if weights == "imagenet":
        copy_weights(_download(variant), application)
    elif weights is not None:
        # Keras's plain .h5 files follow the order of the layers in Keras's own model
        plain = Path(weights).suffix == ".h5" and not str(weights).endswith(".weights.h5")
        load_weights(application if plain else model, weights)
        weights = "imagenet" if plain else weights
    if variant in _RESCALED_TWICE and weights in (None, "imagenet"):
        _fold_second_rescaling(application, trained=weights is not None)
    return model


def _download(variant):
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`input_shape` is undefined")  # the weights are valid for any size
            return getattr(keras.applications, variant)(include_top=False, weights="imagenet")
    except Exception as error:  # the network, the proxy, the disk or the hash raise different types
        raise UserError(
            f"the ImageNet weights of {variant} could not be downloaded ({error}). Connect to the internet, "
            "or put the file named there into ~/.keras/models, or give a file as weights=PATH; "
            "efficientnet_lite0 needs no download: its weights are installed as a package.",
            "weights",
        ) from error


def _fold_second_rescaling(application, trained: bool):
    """Fold the second Rescaling, which Keras adds when it loads ImageNet weights, into EfficientNet's Normalization.

    Keras's files store the standard deviations of ImageNet's pixels as variances. A layer that exists only with
    `weights="imagenet"` divides by their root once more. Without weights, Keras does not normalize at all.
    """
    layer = next(x for x in application.layers if isinstance(x, keras.layers.Normalization))
    deviation = np.array(IMAGENET["std"], "float32") / 255
    if trained:
        layer.adapt_variance.assign(keras.ops.convert_to_numpy(layer.adapt_variance) * deviation)
    else:
        layer.adapt_mean.assign(np.array(IMAGENET["mean"], "float32") / 255)
        layer.adapt_variance.assign(deviation**2)
    layer.finalize_state()


def _levels(inputs, output) -> dict:
    """{"Cn": tensor}: for each stride 2**n the last bottleneck of the graph, the output for the last one."""
    graph = Graph(inputs, output)
    # in NASNet a connection bypasses every map, because its cells read the two cells before: use branching points
    tensors = [t for t in graph.branchings() + graph.bottlenecks() if _feature(t)]
    last = {stride: t for t in tensors if (stride := graph.stride(t))}
    return {f"C{stride.bit_length() - 1}": tensor for stride, tensor in last.items()}


def _feature(tensor) -> bool:
    """Whether a tensor is a feature map: not the image, and not the output of a padding layer."""
    layer = tensor._keras_history.operation  # private: Keras has no public way from a tensor to its layer
    return tensor.shape[-1] != 3 and not isinstance(layer, keras.layers.ZeroPadding2D)
