"""Cross stage partial blocks and their pyramid, as the YOLO of 2023 has them, and its sizes.

C.-Y. Wang et al.: CSPNet (2019), https://arxiv.org/abs/1911.11929, figure 2; S. Liu et al.: Path Aggregation Network
(2018), https://arxiv.org/abs/1803.01534, section 3.1. Functions from tensors to tensors out of Keras's own layers, so
that a backbone's costs and receptive fields can be read off its graph.
"""

from typing import Literal

from keras import layers, ops

from visiontasks.layers.nearest_resize import NearestResize

# by which the depth and the width are multiplied, and the most channels before that
Size = Literal["n", "s", "m", "l", "x"]
SIZES = {
    "n": (1 / 3, 0.25, 1024),
    "s": (1 / 3, 0.5, 1024),
    "m": (2 / 3, 0.75, 768),
    "l": (1.0, 1.0, 512),
    "x": (1.0, 1.25, 512),
}


def width(filters: int, size: str) -> int:
    """How many channels a network of a size has where the plan says `filters`."""
    _, factor, most = SIZES[size]
    return int(min(filters, most) * factor)


def depth(blocks: int, size: str) -> int:
    """How many blocks a network of a size has where the plan says `blocks`."""
    return max(1, round(blocks * SIZES[size][0]))


def convolution(x, filters: int, kernel: int, name: str, stride: int = 1, dtype=None):
    """A convolution, batch normalisation and SiLU; a side is divided by the stride and rounded up.

    Args:
        x: feature maps (B, H, W, C).
        filters, kernel, stride: the convolution's.
        name: what the layers' names begin with.
        dtype: the layers' dtype policy; None: the global one.
    """
    if stride > 1:  # the same border on all sides, as PyTorch pads; Keras's "same" pads an even side on one alone
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad", dtype=dtype)(x)
    padding = "valid" if stride > 1 else "same"
    x = layers.Conv2D(filters, kernel, stride, padding, use_bias=False, name=f"{name}_conv", dtype=dtype)(x)
    x = layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{name}_bn", dtype=dtype)(x)
    return layers.Activation("silu", name=f"{name}_silu", dtype=dtype)(x)


def csp_block(x, filters: int, blocks: int, name: str, shortcut: bool = True, dtype=None):
    """Half of the channels go through one pair of 3×3 convolutions after the other; all that comes out is joined.

    Args:
        x: feature maps (B, H, W, C).
        filters: channels that come out; half as many inside.
        blocks: pairs of convolutions.
        name: what the layers' names begin with.
        shortcut: whether a pair learns what to add to its input.
        dtype: the layers' dtype policy; None: the global one.
    """
    parts = ops.split(convolution(x, filters, 1, f"{name}_split", dtype=dtype), 2, axis=-1)
    for i in range(1, blocks + 1):
        inner = convolution(parts[-1], filters // 2, 3, f"{name}_{i}a", dtype=dtype)
        inner = convolution(inner, filters // 2, 3, f"{name}_{i}b", dtype=dtype)
        if shortcut:
            inner = layers.Add(name=f"{name}_{i}_add", dtype=dtype)([parts[-1], inner])
        parts.append(inner)
    return convolution(layers.Concatenate(name=f"{name}_parts", dtype=dtype)(parts), filters, 1, name, dtype=dtype)


def pooling_pyramid(x, filters: int, name: str, dtype=None):
    """Three 5×5 max pools, one behind the other, joined with their input: windows of 5, 9 and 13 beside each other.

    The spatial pyramid pooling of He et al. 2014 (https://arxiv.org/abs/1406.4729) as YOLO has it.
    """
    parts = [convolution(x, x.shape[-1] // 2, 1, f"{name}_reduce", dtype=dtype)]
    for i in (1, 2, 3):
        parts.append(layers.MaxPooling2D(5, 1, padding="same", name=f"{name}_pool{i}", dtype=dtype)(parts[-1]))
    return convolution(layers.Concatenate(name=f"{name}_parts", dtype=dtype)(parts), filters, 1, name, dtype=dtype)


def path_aggregation(levels: list, steps: list[int], size: str, dtype=None) -> list:
    """Each level with what the deeper ones know of the whole and the finer ones of places: down the pyramid, then up.

    Args:
        levels: feature maps (B, H, W, C), the finest first; their sides may be any.
        steps: by which the stride grows from each level to the next.
        size: multiplies the depth 3 and the widths 256, 512 and 1024 of the levels.
        dtype: the layers' dtype policy; None: the global one.

    Returns:
        Feature maps of the levels' own sides.
    """
    made, count = list(levels), len(levels)

    def joined(x, like, other, i, name):
        x = NearestResize(name=f"{name}_fit", dtype=dtype)([x, like])
        x = layers.Concatenate(name=f"{name}_join", dtype=dtype)([x, other])
        return csp_block(x, width(256 * 2**i, size), depth(3, size), name, shortcut=False, dtype=dtype)

    for i in reversed(range(count - 1)):
        made[i] = joined(made[i + 1], made[i], made[i], i, f"down{i + 1}")
    for i in range(1, count):
        finer = made[i - 1]
        finer = convolution(finer, finer.shape[-1], 3, f"up{i + 1}_stride", steps[i - 1], dtype=dtype)
        made[i] = joined(finer, made[i], made[i], i, f"up{i + 1}")
    return made
