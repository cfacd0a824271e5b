"""Cross stage partial blocks and their pyramid, in the form of YOLOv8, and its variants.

C.-Y. Wang et al.: CSPNet (2019), https://arxiv.org/abs/1911.11929, figure 2; S. Liu et al.: Path Aggregation Network
(2018), https://arxiv.org/abs/1803.01534, section 3.1. These are functions of tensors made of Keras layers, so that a
backbone's costs and receptive fields can be computed from its graph.
"""

from typing import Literal

from keras import layers, ops

from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.layers.nearest_resize import NearestResize

Variant = Literal["n", "s", "m", "l", "x"]
# {variant: (depth multiple, width multiple, maximum channels before the multiple)}
VARIANTS = {
    "n": (1 / 3, 0.25, 1024),
    "s": (1 / 3, 0.5, 1024),
    "m": (2 / 3, 0.75, 768),
    "l": (1.0, 1.0, 512),
    "x": (1.0, 1.25, 512),
}


def width(filters: int, variant: str) -> int:
    """The number of channels that a variant has for `filters` in the plan."""
    _, factor, most = VARIANTS[variant]
    return int(min(filters, most) * factor)


def depth(blocks: int, variant: str) -> int:
    """The number of blocks that a variant has for `blocks` in the plan."""
    return max(1, round(blocks * VARIANTS[variant][0]))


def convolution(x, filters: int, kernel: int, name: str, stride: int = 1, dtype=None):
    """A convolution, batch normalization and SiLU; height and width are divided by the stride and rounded up.

    Args:
        x: feature maps (B, H, W, C).
        filters, kernel, stride: of the convolution.
        name: prefix of the layers' names.
        dtype: the layers' dtype policy; None: the global one.
    """
    if stride > 1:  # pad all borders equally, as PyTorch does; Keras's "same" pads an even size at one border only
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad", dtype=dtype)(x)
    padding = "valid" if stride > 1 else "same"
    x = layers.Conv2D(filters, kernel, stride, padding, use_bias=False, name=f"{name}_conv", dtype=dtype)(x)
    x = BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_bn", dtype=dtype)(x)
    return layers.Activation("silu", name=f"{name}_silu", dtype=dtype)(x)


def csp_block(x, filters: int, blocks: int, name: str, shortcut: bool = True, dtype=None):
    """A chain of 3×3 convolution pairs on half of the channels; the outputs of all pairs are concatenated.

    Args:
        x: feature maps (B, H, W, C).
        filters: output channels; the pairs have half as many.
        blocks: number of pairs.
        name: prefix of the layers' names.
        shortcut: whether a pair's input is added to its output.
        dtype: the layers' dtype policy; None: the global one.
    """
    halves = ops.split(convolution(x, filters, 1, f"{name}_split", dtype=dtype), 2, axis=-1)
    for i in range(1, blocks + 1):
        inner = convolution(halves[-1], filters // 2, 3, f"{name}_{i}a", dtype=dtype)
        inner = convolution(inner, filters // 2, 3, f"{name}_{i}b", dtype=dtype)
        if shortcut:
            inner = layers.Add(name=f"{name}_{i}_add", dtype=dtype)([halves[-1], inner])
        halves.append(inner)
    return convolution(layers.Concatenate(name=f"{name}_parts", dtype=dtype)(halves), filters, 1, name, dtype=dtype)


def pooling_pyramid(x, filters: int, name: str, dtype=None):
    """Three 5×5 max pools in a chain, concatenated with their input: windows of 5, 9 and 13.

    The spatial pyramid pooling of He et al. 2014 (https://arxiv.org/abs/1406.4729) in YOLO's form.
    """
    maps = [convolution(x, x.shape[-1] // 2, 1, f"{name}_reduce", dtype=dtype)]
    for i in (1, 2, 3):
        maps.append(layers.MaxPooling2D(5, 1, padding="same", name=f"{name}_pool{i}", dtype=dtype)(maps[-1]))
    return convolution(layers.Concatenate(name=f"{name}_parts", dtype=dtype)(maps), filters, 1, name, dtype=dtype)


def path_aggregation(levels: list, steps: list[int], variant: str, dtype=None) -> list:
    """A top-down and then a bottom-up path: each level receives features of the deeper and of the finer levels.

    Args:
        levels: feature maps (B, H, W, C), the finest first, of any sizes.
        steps: the factor of the stride from each level to the next.
        variant: multiplies the depth 3 and the widths 256, 512 and 1024 of the levels.
        dtype: the layers' dtype policy; None: the global one.

    Returns:
        Feature maps of the same sizes.
    """
    maps, count = list(levels), len(levels)

    def joined(x, like, other, i, name):
        x = NearestResize(name=f"{name}_fit", dtype=dtype)([x, like])
        x = layers.Concatenate(name=f"{name}_join", dtype=dtype)([x, other])
        return csp_block(x, width(256 * 2**i, variant), depth(3, variant), name, shortcut=False, dtype=dtype)

    for i in reversed(range(count - 1)):
        maps[i] = joined(maps[i + 1], maps[i], maps[i], i, f"down{i + 1}")
    for i in range(1, count):
        finer = maps[i - 1]
        finer = convolution(finer, finer.shape[-1], 3, f"up{i + 1}_stride", steps[i - 1], dtype=dtype)
        maps[i] = joined(finer, maps[i], maps[i], i, f"up{i + 1}")
    return maps
