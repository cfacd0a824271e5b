"""EfficientPose RT and I: EfficientNet's first stages, then three passes of mobile dense blocks, for one person's pose.

D. Groos, H. Ramampiaro, E. Ihlen: EfficientPose: Scalable single-person pose estimation (2020),
https://arxiv.org/abs/2004.12186, section 3; the stages: M. Tan, Q. Le 2019, https://arxiv.org/abs/1905.11946.
"""

from typing import Literal

import keras
from keras import layers

from visiontasks.arguments import InputShape, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.layers.pixel_normalization import IMAGENET, PixelNormalization
from visiontasks.weights import efficientpose as published

NAMES = {"efficientpose_rt": "rt", "efficientpose_i": "i"}
SIZES = {"efficientpose_rt": 224, "efficientpose_i": 256}  # the image's height and width that each was trained with

# (kernel, stride of the first block, expansion) of EfficientNet's first stages
_STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6))
# {variant: one network a resolution}, a network: (blocks, filters) of each stage. B0 and B2 of EfficientNet to stride
# 8; the second one sees the image at half its size, so that its stride is 8 one stage earlier
_NETWORKS = {
    "rt": (((1, 16), (2, 24), (2, 40)),),
    "i": (((2, 16), (3, 24), (3, 48)), ((1, 16), (2, 24))),
}
_PASSES = ("pass1_block1_mbconv{}_skeleton", "pass2_block1_mbconv{}_detection1", "pass3_block1_mbconv{}_detection2")


@checked
def efficientpose(
    variant: Literal["rt", "i"], weights: str | None = None, input_shape: InputShape = (None, None, 3)
) -> keras.Model:
    """EfficientPose to its last feature map: PCKh@0.5 on MPII's validation set 82.9 (rt), 85.2 (i), as published.

    With the head `pose_heatmap` of `layers: 0`, whose 1×1 convolution makes a heat map for each keypoint, it is the
    published network. That network enlarges its heat maps 8 times by a fixed bilinear rule; here their peaks are found
    between the cells. The maps of limbs and keypoints that the first two passes are trained with are left out.

    Taps: "C1" and "C2", EfficientNet's blocks at these strides, and "C3", the third pass. The layers have the names of
    the published files.

    Args:
        variant: "rt" or "i".
        weights: a published `.h5`, a `.keras` or a `.weights.h5` file, or None: random.
        input_shape: (height, width, 3); None for any. Trained at 224² (rt) and 256² (i).

    Raises:
        UserError: the weights do not fit.
    """
    inputs = image_input(input_shape)
    pixels = PixelNormalization(**IMAGENET, name="pixels")(inputs)
    taps = _stages(pixels, _NETWORKS[variant][0], "res1")
    features = [taps[-1]]
    for stages in _NETWORKS[variant][1:]:
        half = layers.AveragePooling2D(2, padding="same", name="input_res2")(pixels)
        features.append(_stages(half, stages, "res2", cut=True)[-1])
    filters = features[0].shape[-1]
    x = None
    for number, name in enumerate(_PASSES, 1):
        joined = features if x is None else [x, *features]
        x = layers.Concatenate(name=f"pass{number}_join")(joined) if len(joined) > 1 else joined[0]
        x = _mobile_dense_block(x, filters, name)
    model = pyramid_model(inputs, {"C1": taps[0], "C2": taps[1], "C3": x}, f"efficientpose_{variant}")
    if published.is_published(weights):
        published.load_backbone(model, weights)
    else:
        load_weights(model, weights)
    return model


def _stages(x, stages, end, cut=False):
    """The output of each stage; the last block is `cut` before its addition, as in the published second network."""
    x = layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name=f"stem_conv_{end}")(x)
    x, outputs = _norm(x, f"stem_bn_{end}", "silu"), []
    for number, ((count, filters), (kernel, stride, expansion)) in enumerate(zip(stages, _STAGES, strict=False), 1):
        for i in range(count):
            step = stride if i == 0 else 1
            last = cut and (number, i + 1) == (len(stages), count)
            x = _inverted_residual(x, kernel, step, expansion, filters, f"block{number}{'abc'[i]}_{{}}_{end}", not last)
        outputs.append(x)
    return outputs


def _inverted_residual(x, kernel, stride, expansion, filters, name, residual):
    """EfficientNet's block; `name` has a place for the layer's own."""
    skip = x
    if expansion > 1:
        x = layers.Conv2D(x.shape[-1] * expansion, 1, use_bias=False, name=name.format("expand_conv"))(x)
        x = _norm(x, name.format("expand_bn"), "silu")
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=name.format("dwconv"))(x)
    x = _norm(x, name.format("bn"), "silu")
    x = _excited(x, skip.shape[-1] // 4, "silu", name.format("se_reduce"), name.format("se_expand"))
    x = layers.Conv2D(filters, 1, use_bias=False, name=name.format("project_conv"))(x)
    x = _norm(x, name.format("project_bn"))
    if not residual or stride > 1 or skip.shape[-1] != filters:
        return x
    return layers.Add(name=name.format("add"))([x, skip])


def _mobile_dense_block(x, filters, name):
    """Three mobile convolutions, each after the first on the concatenated outputs of all before it."""
    parts = []
    for number in (1, 2, 3):
        here = name.format(number)
        if number == 3:
            x = layers.Concatenate(name=f"{name.format(2)}_dense")(parts)
        parts.insert(0, _mobile_convolution(x, filters, here))
        x = parts[0]
    return layers.Concatenate(name=f"{name.format(3)}_dense")(parts)


def _mobile_convolution(x, filters, name):
    x = layers.Conv2D(6 * filters, 1, use_bias=False, name=f"{name}_conv1")(x)
    x = _norm(x, f"{name}_conv1_bn", e_swish)
    x = layers.DepthwiseConv2D(5, padding="same", use_bias=False, name=f"{name}_dconv1")(x)
    x = _norm(x, f"{name}_dconv1_bn", e_swish)
    x = _excited(x, filters // 4, e_swish, f"{name}_se_se_squeeze_conv", f"{name}_se_se_excite_conv")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv2")(x)
    return _norm(x, f"{name}_conv2_bn")


def _excited(x, reduced, activation, reduce, expand):
    """Squeeze and excitation: Hu et al. 2018, https://arxiv.org/abs/1709.01507."""
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{reduce}_mean")(x)
    gate = layers.Conv2D(reduced, 1, activation=activation, name=reduce)(gate)
    gate = layers.Conv2D(x.shape[-1], 1, activation="sigmoid", name=expand)(gate)
    return layers.Multiply(name=f"{expand}_excite")([x, gate])


def _norm(x, name, activation=None):
    x = BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)
    return x if activation is None else layers.Activation(activation, name=f"{name}_activation")(x)


@keras.saving.register_keras_serializable(package="visiontasks")
def e_swish(x):
    """1.25 · x · sigmoid(x): E. Alcaide 2018, https://arxiv.org/abs/1801.07145."""
    return 1.25 * keras.ops.silu(x)
