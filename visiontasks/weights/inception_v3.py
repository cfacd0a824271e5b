"""Maps the tensors of torchvision's Inception v3 checkpoint to the variables of Keras's model."""

import re

import keras

from visiontasks.weights import checkpoint, transfer

DENSE = {"": (("fc",), None)}

_FIRST = ("1x1", "5x5_1", "5x5_2", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3", "_pool")
_MIDDLE = ("1x1", "7x7_1", "7x7_2", "7x7_3", *(f"7x7dbl_{i}" for i in range(1, 6)), "_pool")
_LAST = ("1x1", "3x3_1", "3x3_2a", "3x3_2b", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3a", "3x3dbl_3b", "_pool")
_BLOCKS = {
    **dict.fromkeys(("5b", "5c", "5d"), _FIRST),
    "6a": ("3x3", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3"),
    **dict.fromkeys(("6b", "6c", "6d", "6e"), _MIDDLE),
    "7a": ("3x3_1", "3x3_2", "7x7x3_1", "7x7x3_2", "7x7x3_3", "7x7x3_4"),
    **dict.fromkeys(("7b", "7c"), _LAST),
}
# the convolutions in the order in which Keras creates them; Keras names them by number alone
MODULES = tuple(f"Conv2d_{n}" for n in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")) + tuple(
    f"Mixed_{block}.branch{branch}" for block, branches in _BLOCKS.items() for branch in branches
)


def load(application: keras.Model, path, strict: bool = True) -> list[str]:
    """Load torchvision's checkpoint into `keras.applications.InceptionV3` without its top.

    Keras's batch norms have no scale, so each scale is multiplied into the convolution before it.

    Args:
        application, path, strict: as `checkpoint.load`.

    Returns:
        One line for each thing skipped.

    Raises:
        UserError: the file cannot be read or does not fit.
    """
    convs, norms = (_by_number(application, kind) for kind in (keras.layers.Conv2D, keras.layers.BatchNormalization))
    tensors = checkpoint.read_checkpoint(path)
    arrays = {}
    for name, array in tensors.items():
        module, _, tensor = name.rpartition(".")
        unit, _, kind = module.rpartition(".")
        if module == "fc" or module.startswith("AuxLogits") or tensor == "num_batches_tracked":
            continue
        if unit not in MODULES:
            arrays[name] = array
            continue
        conv, norm = (layers[MODULES.index(unit)].name for layers in (convs, norms))
        scale = tensors.get(f"{unit}.bn.weight", 1.0)
        if (kind, tensor) == ("conv", "weight"):
            arrays[f"{conv}/kernel"] = transfer.conv_kernel(array) * scale
        elif tensor == "running_mean":
            arrays[f"{norm}/moving_mean"] = array * scale
        elif tensor == "running_var":
            arrays[f"{norm}/moving_variance"] = array
        elif tensor == "bias":
            arrays[f"{norm}/beta"] = array
    return transfer.assign(application, arrays, str(path), strict)


def _by_number(model, kind):
    def number(layer):
        return int((re.findall(r"_(\d+)$", layer.name) or [0])[0])

    return sorted((layer for layer in model.layers if isinstance(layer, kind)), key=number)


def as_in_pytorch(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer of Keras's model as in torchvision: its average pools count the zeros of the padding as pixels."""
    if isinstance(layer, keras.layers.AveragePooling2D) and layer.padding == "same":
        padded = [keras.layers.ZeroPadding2D(1), keras.layers.AveragePooling2D(3, 1)]
        return keras.Sequential(padded, name=layer.name)
    return layer.__class__.from_config(layer.get_config())
