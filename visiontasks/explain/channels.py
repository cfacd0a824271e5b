"""What single channels look like: the first filters, the sizes of all, and the strongest feature maps of an image."""

import keras
import numpy as np
from keras import ops

from visiontasks.backbones.backbone import Graph, levels
from visiontasks.errors import UserError

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


def check_channels(backbone: keras.Model, tap: str, channels):
    """Raise a UserError if a backbone has no such tap, or one of these channels is not on it."""
    if tap not in backbone.output:
        raise UserError(f"expected one of {', '.join(backbone.output)}; got {tap!r}.", "tap")
    width = backbone.output[tap].shape[-1]
    if wrong := [channel for channel in channels if not 0 <= channel < width]:
        raise UserError(f"{tap} has channels 0 to {width - 1}; got {wrong}.", "channels")


def filters(backbone: keras.Model) -> np.ndarray:
    """The kernels of the first convolution: float32 (filters, height, width, 3), or 1 of a network that sees gray.

    Raises:
        UserError: the network does not begin with a convolution of all colors, or of gray.
    """
    first = next(_convolutions(backbone), None)
    if not isinstance(first, keras.layers.Conv2D) or first.groups > 1 or first.kernel.shape[2] not in (1, 3):
        raise UserError(f"{backbone.name} does not begin with a convolution of an image's colors.", "backbone")
    kernel = ops.convert_to_numpy(first.kernel)
    return kernel.transpose(3, 0, 1, 2).astype(np.float32)


def filter_norms(backbone: keras.Model) -> dict[str, np.ndarray]:
    """{convolution: float32 (filters,)}, in order: the L2 norm of each filter. One of 0 gives a dead channel."""
    found = {}
    for layer in _convolutions(backbone):
        kernel = ops.convert_to_numpy(layer.weights[0]).astype(np.float32)
        if isinstance(layer, (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)):
            kernel = kernel.reshape(*kernel.shape[:2], 1, -1)  # a filter for each channel
        found[layer.name] = np.sqrt((kernel**2).sum(axis=(0, 1, 2)))
    return found


def _convolutions(backbone):
    tensors = list(backbone.output.values())
    for node in Graph(backbone.input, tensors).nodes:
        if isinstance(node.operation, CONVOLUTIONS):
            yield node.operation


def feature_maps(backbone: keras.Model, image: np.ndarray, count: int = 8) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The strongest feature maps of each level, by their mean absolute value.

    Args:
        backbone: a functional keras.Model from images.
        image: uint8 (H, W, 3).
        count: maps per level, at most.

    Returns:
        {level: (int (N,), the numbers of the channels, the strongest first; float32 (N, h, w), their maps)}.
    """
    network = keras.Function(backbone.input, {level: backbone.output[level] for level in levels(backbone)})
    found = {}
    for level, values in network(ops.convert_to_tensor(image[None])).items():
        values = ops.convert_to_numpy(ops.cast(values, "float32"))[0]
        strongest = np.argsort(-np.abs(values).mean(axis=(0, 1)), kind="stable")[:count]
        found[level] = strongest, values[..., strongest].transpose(2, 0, 1)
    return found
