"""EfficientNet-lite 0 to 4: EfficientNet without squeeze-and-excitation and with ReLU6, for small and quick devices.

M. Tan, Q. Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (2019),
https://arxiv.org/abs/1905.11946, table 1; what the lite form changes:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import math

import keras
from keras import layers

from visiontasks.arguments import InputShape, Share, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.layers.pixel_normalization import PixelNormalization
from visiontasks.weights import efficientnet_lite as checkpoints

NAMES = {
    "efficientnet_lite0": 0,
    "efficientnet_lite1": 1,
    "efficientnet_lite2": 2,
    "efficientnet_lite3": 3,
    "efficientnet_lite4": 4,
}

# the image's height and width that each was trained with
SIZES = {"efficientnet_lite1": 240, "efficientnet_lite2": 260, "efficientnet_lite3": 280, "efficientnet_lite4": 300}
_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))  # (width, depth) of lite0 to lite4

# blocks, kernel, stride of the first block, expansion, filters: table 1 of the paper, stages 2 to 8
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@checked
def efficientnet_lite(
    variant: int,
    weights: str | None = None,
    input_shape: InputShape = (None, None, 3),
    drop_connect: Share = 0.0,
    strict: bool = True,
) -> keras.Model:
    """EfficientNet-lite: ImageNet classification at 75.1% (lite0), 76.7% (lite1), 77.6% (lite2) top-1, as published.

    Taps: "C1" to "C5", the last block's output at each stride, and "top", the 1×1 convolution to 1280 channels at
    stride 32 that the original classification layer pools.

    Args:
        variant: 0 to 4.
        weights: "imagenet" (lite0 to lite2), a `.pth`, `.keras` or `.weights.h5` file, or None: random.
        input_shape: (height, width, 3); None for any. Trained at 224², 240², 260², 280², 300² for lite0 to 4.
        drop_connect: the chance of leaving out a residual branch in training, growing linearly from 0 at the first
            block by drop_connect / blocks a block (section 5.2 of the paper trains with 0.2).
        strict: whether a checkpoint must fit completely; else a warning lists what was skipped.

    Raises:
        UserError: the weights are not available; the text says how to get them.
    """
    name = f"efficientnet_lite{variant}"
    file = checkpoints.checkpoint_path(name) if weights == "imagenet" else weights
    width, depth = _SCALES[variant]
    inputs = image_input(input_shape)
    x = PixelNormalization((127.0,) * 3, (128.0,) * 3, name="pixels")(inputs)
    x = _conv(x, 32, 3, 2, "stem")  # the lite form scales neither the stem, nor the top, nor the stages at the ends

    taps, stride, block = {}, 2, 0
    repeats = [n if i in (0, len(_STAGES) - 1) else math.ceil(n * depth) for i, (n, *_) in enumerate(_STAGES)]
    for count, (_, kernel, first_stride, expansion, filters) in zip(repeats, _STAGES, strict=True):
        for i in range(count):
            step = first_stride if i == 0 else 1
            rate = drop_connect * block / sum(repeats)
            stride *= step
            x = _block(x, kernel, step, expansion, _round_filters(filters, width), rate, f"block{block}")
            taps[f"C{int(math.log2(stride))}"] = x  # a later block at the same stride takes the earlier one's place
            block += 1
    taps["top"] = _conv(x, 1280, 1, 1, "top")

    model = pyramid_model(inputs, taps, name)
    load_weights(model, file, checkpoints.layer_of, strict)
    return model


def _round_filters(filters: int, width: float) -> int:
    """The multiple of 8 nearest to filters × width, but never more than a tenth below it."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _normal():
    """Made for each layer, and not at import: an initializer draws its seed when it is made."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")


def _conv(x, filters, kernel, stride, name, activation=True):
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer=_normal(),
        name=f"{name}_conv",
    )(x)
    return _norm(x, name, activation)


def _norm(x, name, activation=True):
    x = BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu6")(x) if activation else x


def _block(x, kernel, stride, expansion, filters, drop_rate, name):
    """An inverted residual block: widen by 1×1, filter by depthwise convolution, narrow by 1×1 without activation."""
    skip = x
    if expansion != 1:
        x = _conv(x, x.shape[-1] * expansion, 1, 1, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        kernel,
        stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_normal(),
        name=f"{name}_depthwise_conv",
    )(x)
    x = _norm(x, f"{name}_depthwise")
    x = _conv(x, filters, 1, 1, f"{name}_project", activation=False)
    if stride != 1 or skip.shape[-1] != filters:
        return x
    if drop_rate:
        x = layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
    return layers.Add(name=f"{name}_add")([x, skip])
