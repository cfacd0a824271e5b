"""The residual networks of 6n+2 layers for 32×32 images.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition (2015), https://arxiv.org/abs/1512.03385,
section 4.2, with its parameter-free shortcuts (option A).
"""

import keras
from keras import layers, ops

from visiontasks.arguments import InputShape, checked
from visiontasks.backbones.backbone import deep_recursion, image_input, load_weights, pyramid_model
from visiontasks.errors import UserError
from visiontasks.layers.normalization import Norm, normalization
from visiontasks.layers.pixel_normalization import PixelNormalization

NAMES = {
    "resnet20": 20,
    "resnet32": 32,
    "resnet44": 44,
    "resnet56": 56,
    "resnet110": 110,
    "resnet1202": 1202,
}
# the paper's image size and classification layer
ORIGINAL = {"size": (32, 32), "classifier": {"classes": 10}}
_CIFAR = {"mean": (125.3, 123.0, 113.9), "std": (63.0, 62.1, 66.7)}  # of CIFAR-10's training images


@checked
def resnet_cifar(
    depth: int,
    weights: str | None = None,
    input_shape: InputShape = (None, None, 3),
    norm: Norm = "batch",
) -> keras.Model:
    """A residual network of 6n+2 layers for small images: 91.25% (20 layers) to 93.57% (110) on CIFAR-10, published.

    Taps: "C0", "C1" and "C2", the last block of each of the three stages: 16, 32 and 64 channels.

    Args:
        depth: 6n+2: 20, 32, 44, 56, 110, 1202 in the paper.
        weights: a `.keras` or `.weights.h5` file, or None: random.
        input_shape: (height, width, 3); None for a variable size.
        norm: the normalization after each convolution.

    Raises:
        UserError: an invalid depth, or the weights are not available or do not fit.
    """
    if depth < 8 or depth % 6 != 2:
        raise UserError(f"expected 6n+2, such as 20 or 56; got {depth!r}.", "depth")
    with deep_recursion():
        inputs = image_input(input_shape)
        x = PixelNormalization(**_CIFAR, name="pixels")(inputs)
        x = layers.ReLU(name="conv1_relu")(_conv(x, 16, 1, "conv1", "bn1", norm))
        taps = {}
        for stage, filters in enumerate((16, 32, 64)):
            for i in range((depth - 2) // 6):
                x = _block(x, filters, 2 if i == 0 and stage else 1, f"stage{stage + 1}_{i}", norm)
            taps[f"C{stage}"] = x
        model = pyramid_model(inputs, taps, f"resnet{depth}")
        load_weights(model, weights)
    return model


def _block(x, filters, stride, name, norm):
    skip = x
    if stride != 1:  # option A: every second pixel, and zeros for the new channels
        missing = filters - x.shape[-1]
        skip = layers.MaxPooling2D(1, stride, name=f"{name}_subsample")(x)
        skip = ops.pad(skip, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))
    x = layers.ReLU(name=f"{name}_relu1")(_conv(x, filters, stride, f"{name}_conv1", f"{name}_bn1", norm))
    x = _conv(x, filters, 1, f"{name}_conv2", f"{name}_bn2", norm)
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, skip]))


def _conv(x, filters, stride, name, norm_name, norm):
    if stride > 1:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        3,
        stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return normalization(norm, norm_name, filters)(x)
