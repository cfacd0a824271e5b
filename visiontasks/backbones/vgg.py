"""VGG: stacks of 3×3 convolutions; three of them have a receptive field of 7×7 with fewer weights.

K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition (2014),
https://arxiv.org/abs/1409.1556, table 1; batch norm as in torchvision. Dilated in place of the last strides: L.-C. Chen
et al.: DeepLab (2014), https://arxiv.org/abs/1412.7062, section 3.1.
"""

from typing import Literal

import keras
from keras import layers

from visiontasks.arguments import InputShape, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.backbones.keras_application import keras_application
from visiontasks.errors import UserError
from visiontasks.layers.dilated_max_pooling import DilatedMaxPooling2D
from visiontasks.layers.normalization import Norm, normalization
from visiontasks.layers.pixel_normalization import IMAGENET, PixelNormalization
from visiontasks.weights import torchvision
from visiontasks.weights import vgg as checkpoints

NAMES = {
    "vgg11": "vgg11",
    "vgg13": "vgg13",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "vgg11_bn": "vgg11_bn",
    "vgg13_bn": "vgg13_bn",
    "vgg16_bn": "vgg16_bn",
    "vgg19_bn": "vgg19_bn",
}

# the paper's image size and classification layers
ORIGINAL = {"size": (224, 224), "classifier": {"classes": 1000, "pooling": "flatten", "hidden": (4096, 4096)}}
# convolutions in each of the five blocks: columns A, B, D, E of table 1
_DEPTHS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_FILTERS = (64, 128, 256, 512, 512)
_KERAS = {"vgg16": "VGG16", "vgg19": "VGG19"}


@checked
def vgg(
    variant: str,
    weights: str | None = None,
    input_shape: InputShape = (None, None, 3),
    norm: Norm | None = None,
    strict: bool = True,
    ceil_pooling: bool = False,
    output_stride: Literal[8, 16, 32] = 32,
) -> keras.Model:
    """VGG-11, 13, 16 or 19, with or without batch norm: five blocks of 3×3 convolutions, each followed by a pool.

    Taps: "C0" to "C4", the last convolution of each block, and "C5", the last pool: 64, 128, 256, 512, 512, 512
    channels; of VGG-16 and 19 also "conv4_2", 512 channels at stride 8, as OpenPose uses it. For the original
    classification layers, use a `classifier` with pooling flatten and hidden [4096, 4096] on "C5" at 224×224.

    Args:
        variant: such as "vgg11" or "vgg16_bn".
        weights: "imagenet" (torchvision's), "imagenet:keras" (vgg16 and vgg19: Keras's model with Keras's weights),
            "imagenet:features" (vgg16: the weights that SSD starts from), a PyTorch checkpoint with torchvision's
            names, a `.keras` or `.weights.h5` file, or None: random.
        input_shape: (height, width, 3); None for a variable size.
        norm: the normalization after each convolution; None: batch for the `_bn` variants, otherwise none.
        strict: whether a checkpoint must fit completely; otherwise what fits is loaded and the rest is reported.
        ceil_pooling: whether pooling of an odd size keeps the last row, as in Caffe: 300 becomes 38 at stride 8, not
            37. The paper's SSD uses it.
        output_stride: the largest stride: at 16 the last pool, at 8 the last two keep the size, and what follows is
            dilated. "C4" and "C5" then have stride 8 or 16; weights fit as they are.

    Raises:
        UserError: the weights are not available or do not fit.
    """
    plain, _, suffix = variant.partition("_")
    if weights == "imagenet:keras" and variant in _KERAS:
        if norm is not None or not strict or output_stride != 32:
            raise UserError(
                "imagenet:keras is Keras's own network; norm, strict and output_stride do not apply to it.", "weights"
            )
        return keras_application(_KERAS[variant], "imagenet", input_shape)
    if weights and weights.endswith(".h5") and not weights.endswith(".weights.h5"):
        raise UserError(
            f"{weights!r} is a file of Keras's own VGG, which normalizes pixels differently. Use "
            f"keras_{variant} for it.",
            "weights",
        )
    norm = norm or ("batch" if suffix else None)
    file = torchvision.file_of(variant, weights)
    # these features were trained in Caffe and then converted to RGB: their pixels are not divided by a std
    caffe = torchvision.variant_of(variant, weights) == "features"
    pixels = {"mean": (122.99925, 116.9991, 103.9992)} if caffe else IMAGENET
    inputs = image_input(input_shape)
    x = PixelNormalization(**pixels, name="pixels")(inputs)
    taps, dilation = {}, 1
    for block, (count, filters) in enumerate(zip(_DEPTHS[plain], _FILTERS, strict=True), start=1):
        for i in range(1, count + 1):
            name = f"block{block}_conv{i}"
            x = layers.Conv2D(
                filters, 3, padding="same", dilation_rate=dilation, kernel_initializer="he_normal", name=name
            )(x)
            if norm:
                x = normalization(norm, f"block{block}_bn{i}", filters)(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
            if (block, i) == (4, 2) and i < count:
                taps["conv4_2"] = x
        taps[f"C{block - 1}"] = x
        if 2**block > output_stride:
            x = DilatedMaxPooling2D(2, dilation, name=f"block{block}_pool")(x)
            dilation *= 2
        else:
            x = layers.MaxPooling2D(2, padding="same" if ceil_pooling else "valid", name=f"block{block}_pool")(x)
    taps["C5"] = x
    model = pyramid_model(inputs, taps, variant)
    load_weights(model, file, checkpoints.layer_of(_DEPTHS[plain], norm is not None), strict)
    return model
