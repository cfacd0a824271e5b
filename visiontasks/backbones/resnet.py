"""ResNet, ResNeXt and Wide ResNet: blocks that learn a residual to add to their input.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition (2015), https://arxiv.org/abs/1512.03385,
table 1. S. Xie et al.: Aggregated Residual Transformations (2016), https://arxiv.org/abs/1611.05431, table 1.
S. Zagoruyko, N. Komodakis: Wide Residual Networks (2016), https://arxiv.org/abs/1605.07146. In torchvision's form: the
3×3 convolution of a bottleneck has the stride, not the 1×1 convolution before it. Dilated in place of the last strides:
L.-C. Chen et al.: DeepLab (2016), https://arxiv.org/abs/1606.00915, section 3.1.
"""

from typing import Literal

import keras
from keras import layers

from visiontasks.arguments import InputShape, NonNegative, Share, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.backbones.keras_application import keras_application
from visiontasks.errors import UserError
from visiontasks.layers.normalization import Norm, normalization
from visiontasks.layers.pixel_normalization import IMAGENET, PixelNormalization
from visiontasks.weights import resnet as checkpoints
from visiontasks.weights import torchvision

NAMES = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "resnet152": "resnet152",
    "resnext50": "resnext50",
    "resnext101": "resnext101",
    "resnext101_64x4d": "resnext101_64x4d",
    "wide_resnet50": "wide_resnet50",
    "wide_resnet101": "wide_resnet101",
}

# blocks per stage; whether they are bottlenecks; groups of the 3×3 convolution and the width of a group
_FORMS = {
    "resnet18": ((2, 2, 2, 2), False, 1, 64),
    "resnet34": ((3, 4, 6, 3), False, 1, 64),
    "resnet50": ((3, 4, 6, 3), True, 1, 64),
    "resnet101": ((3, 4, 23, 3), True, 1, 64),
    "resnet152": ((3, 8, 36, 3), True, 1, 64),
    "resnext50": ((3, 4, 6, 3), True, 32, 4),
    "resnext101": ((3, 4, 23, 3), True, 32, 8),
    "resnext101_64x4d": ((3, 4, 23, 3), True, 64, 4),
    "wide_resnet50": ((3, 4, 6, 3), True, 1, 128),
    "wide_resnet101": ((3, 4, 23, 3), True, 1, 128),
}
_KERAS = {"resnet50": "ResNet50", "resnet101": "ResNet101", "resnet152": "ResNet152"}


@checked
def resnet(
    variant: str,
    weights: str | None = None,
    input_shape: InputShape = (None, None, 3),
    norm: Norm = "batch",
    drop_connect: Share = 0.0,
    epsilon: NonNegative = 1e-5,
    strict: bool = True,
    output_stride: Literal[8, 16, 32] = 32,
) -> keras.Model:
    """A residual network in torchvision's form, for images of ImageNet's size.

    Taps: "C1", the first convolution (64 channels), and "C2" to "C5", the last block of each stage: 64, 128, 256, 512
    channels, times four in networks of bottlenecks.

    Args:
        variant: such as "resnet50".
        weights: "imagenet" (torchvision's best), "imagenet:v1", "imagenet:v2", "imagenet:keras" (Keras's own model with
            Keras's weights), a PyTorch checkpoint with torchvision's names, a `.keras` or `.weights.h5` file, or None:
            random.
        input_shape: (height, width, 3); None for a variable size.
        norm: the normalization after each convolution.
        drop_connect: the probability of dropping the last residual branch in training. It grows linearly from the
            input: the first of L branches has drop_connect / L (Huang et al. 2016, https://arxiv.org/abs/1603.09382,
            section 3).
        epsilon: added to the variance in each normalization; some published detectors were trained with 0.
        strict: whether a checkpoint must fit completely; otherwise what fits is loaded and the rest is reported.
        output_stride: the largest stride: at 16 the last stage, at 8 the last two are dilated instead of strided, as by
            torchvision's replace_stride_with_dilation. "C4" and "C5" then have stride 8 or 16, at up to 16 times the
            cost; weights fit as they are.

    Raises:
        UserError: the weights are not available or do not fit.
    """
    if weights == "imagenet:keras" and variant in _KERAS:
        if norm != "batch" or drop_connect or epsilon != 1e-5 or not strict or output_stride != 32:
            raise UserError(
                "imagenet:keras is Keras's own network; norm, drop_connect, epsilon, strict and output_stride do not "
                "apply to it.",
                "weights",
            )
        return keras_application(_KERAS[variant], "imagenet", input_shape)
    file = torchvision.file_of(variant, weights)
    depths, bottleneck, groups, width = _FORMS[variant]
    normalized = {"norm": norm, "epsilon": epsilon}
    inputs = image_input(input_shape)
    x = PixelNormalization(**IMAGENET, name="pixels")(inputs)
    x = layers.ReLU(name="conv1_relu")(_conv(x, 64, 7, 2, "conv1", "bn1", **normalized))
    taps = {"C1": x}
    # after a ReLU, zero padding is equivalent to -inf
    x = layers.MaxPooling2D(3, 2, name="pool1")(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    block, dilation = 0, 1
    for stage, count in enumerate(depths, start=1):
        filters = 64 * 2 ** (stage - 1)
        for i in range(count):
            stride, before = 2 if i == 0 and stage > 1 else 1, dilation
            if stride == 2 and 2 ** (stage + 1) > output_stride:
                stride, dilation = 1, 2 * dilation
            rate = drop_connect * (block + 1) / sum(depths)
            if bottleneck:
                inner = filters * width // 64 * groups
                plan = ((inner, 1, 1, 1, 1), (inner, 3, stride, before, groups), (4 * filters, 1, 1, 1, 1))
            else:
                plan = ((filters, 3, stride, before, 1), (filters, 3, 1, dilation, 1))
            x = _block(x, plan, stride, f"layer{stage}_{i}", rate, **normalized)
            block += 1
        taps[f"C{stage + 1}"] = x
    model = pyramid_model(inputs, taps, variant)
    load_weights(model, file, checkpoints.layer_of, strict)
    return model


def _block(x, plan, stride, name, drop_rate, **normalized):
    """Convolutions by `plan` with ReLU between them, plus the input at the end.

    `plan` has (filters, kernel, stride, dilation, groups) of each. What would have had a stride has the dilation before
    it, and what follows has twice as much.
    """
    skip, filters = x, plan[-1][0]
    if stride != 1 or skip.shape[-1] != filters:
        skip = _conv(skip, filters, 1, stride, f"{name}_shortcut_conv", f"{name}_shortcut_bn", **normalized)
    for i, (width, kernel, step, dilation, groups) in enumerate(plan, start=1):
        x = _conv(x, width, kernel, step, f"{name}_conv{i}", f"{name}_bn{i}", groups, dilation, **normalized)
        if i < len(plan):
            x = layers.ReLU(name=f"{name}_relu{i}")(x)
    if drop_rate:
        x = layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, skip]))


def _conv(x, filters, kernel, stride, name, norm_name, groups=1, dilation=1, *, norm, epsilon):
    if stride > 1 and kernel > 1:  # pad all borders equally, as PyTorch does; Keras's "same" pads only one
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same" if stride == 1 else "valid",
        dilation_rate=dilation,
        groups=groups,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=name,
    )(x)
    return normalization(norm, norm_name, filters, epsilon)(x)
