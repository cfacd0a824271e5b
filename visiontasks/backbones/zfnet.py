"""ZFNet: AlexNet with finer first filters, changed after its features had been visualized.

M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks (2013), https://arxiv.org/abs/1311.2901,
figure 3; with the wider last convolutions (512, 1024, 512) of its table 2.
"""

import keras
from keras import layers

from visiontasks.arguments import InputShape, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.layers.local_response_normalization import LocalResponseNormalization
from visiontasks.layers.pixel_normalization import IMAGENET, PixelNormalization

# the paper's image size and classification layers
ORIGINAL = {"size": (224, 224), "classifier": {"classes": 1000, "pooling": "flatten", "hidden": (4096, 4096)}}


@checked
def zfnet(weights: str | None = None, input_shape: InputShape = (None, None, 3)) -> keras.Model:
    """ZFNet of 2013: AlexNet with a first convolution of 7×7 at stride 2 instead of 11×11 at stride 4.

    Taps: "C1" (the first convolution, 96 channels), "C2" (its pool, 96), "C3" (the second, 256), "C4" (the fifth, 512)
    and "C5" (the last pool, 512). For the original classification layers, use a `classifier` with pooling flatten and
    hidden [4096, 4096] on "C5" at 224×224.

    Args:
        weights: a `.keras` or `.weights.h5` file, or None: random. No ImageNet weights are published.
        input_shape: (height, width, 3); None for a variable size.

    Raises:
        UserError: the weights are not available or do not fit.
    """
    inputs = image_input(input_shape)
    x = PixelNormalization(**IMAGENET, name="pixels")(inputs)
    taps = {}
    x = taps["C1"] = _conv(layers.ZeroPadding2D(1, name="conv1_pad")(x), 96, 7, 2, "conv1")
    x = taps["C2"] = _norm(_pool(x, 1), 1)
    x = taps["C3"] = _conv(x, 256, 5, 2, "conv2")
    x = _norm(_pool(x, 2), 2)
    for i, filters in enumerate((512, 1024, 512), start=3):
        x = _conv(x, filters, 3, 1, f"conv{i}")
    taps["C4"] = x
    taps["C5"] = layers.MaxPooling2D(3, 2, name="pool5")(x)
    model = pyramid_model(inputs, taps, "zfnet")
    load_weights(model, weights)
    return model


def _conv(x, filters, kernel, stride, name):
    padding = "same" if stride == 1 else "valid"
    return layers.Conv2D(
        filters, kernel, stride, padding=padding, activation="relu", kernel_initializer="he_normal", name=name
    )(x)


def _pool(x, number):
    """3×3 at stride 2; the last window may exceed the border: 110 to 55 and 26 to 13, as in figure 3."""
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"pool{number}_pad")(x)
    return layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)


def _norm(x, number):
    return LocalResponseNormalization(bias=2.0, alpha=5e-4, name=f"norm{number}")(x)  # AlexNet's constants
