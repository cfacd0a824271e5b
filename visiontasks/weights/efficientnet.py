"""Maps the tensors of torchvision's EfficientNet checkpoints to the variables of Keras's models."""

import re

import keras
import numpy as np

from visiontasks.weights import checkpoint, transfer

DENSE = {"": (("classifier.1",), None)}

_UNITS = ("expand_conv", "expand_bn"), ("dwconv", "bn"), ("se_reduce", "se_expand"), ("project_conv", "project_bn")
_EPSILON = {**dict.fromkeys("01234", 1e-5), **dict.fromkeys("567", 1e-3)}  # of torchvision's batch norms, b0 to b7


def layer_of(module: str) -> str | None:
    """The Keras layer of a module: block2a_dwconv for features.2.0.block.1.0; None for the classification layer."""
    if module.startswith("classifier."):
        return None
    end = re.fullmatch(r"features\.(\d)\.([01])", module)
    if end:
        return f"{'stem' if end[1] == '0' else 'top'}_{('conv', 'bn')[int(end[2])]}"
    block = re.fullmatch(r"features\.(\d)\.(\d+)\.block\.(\d)\.(?:([01])|fc([12]))", module)
    if not block:
        return module
    stage, number, unit = int(block[1]), int(block[2]), int(block[3])
    unit += stage == 1  # the blocks of the first stage do not expand
    if unit >= len(_UNITS):
        return module
    index = int(block[4]) if block[4] else int(block[5]) - 1
    return f"block{stage}{chr(ord('a') + number)}_{_UNITS[unit][index]}"


def load(application: keras.Model, path, strict: bool = True) -> list[str]:
    """Load torchvision's checkpoint into one of Keras's EfficientNets without its top.

    Args:
        application, path, strict: as `checkpoint.load`.

    Returns:
        One line for each thing skipped.

    Raises:
        UserError: the file cannot be read or does not fit.
    """
    arrays = checkpoint.keras_arrays(application, checkpoint.read_checkpoint(path), layer_of)
    arrays |= {  # the mean and standard deviation of pixels, which torchvision's checkpoints do not contain
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in application.layers
        if isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
    }
    theirs = _EPSILON[application.name[-1]]
    for layer in application.layers:
        scale, variance = (arrays.get(f"{layer.name}/{name}") for name in ("gamma", "moving_variance"))
        if isinstance(layer, keras.layers.BatchNormalization) and scale is not None and variance is not None:
            arrays[f"{layer.name}/gamma"] = scale * np.sqrt((variance + layer.epsilon) / (variance + theirs))
    return transfer.assign(application, arrays, str(path), strict)


def as_in_pytorch(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer of Keras's model as in torchvision: before a stride it pads all four borders equally."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.ZeroPadding2D):
        config["padding"] = [[max(pair)] * 2 for pair in config["padding"]]
    return layer.__class__.from_config(config)
