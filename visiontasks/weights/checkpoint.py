"""Loads checkpoints of other frameworks into Keras models.

PyTorch's `.pth`, `.pt` and `.bin`, and `.safetensors`, are read without PyTorch and without running anything in them.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from visiontasks.errors import UserError
from visiontasks.weights import transfer
from visiontasks.weights.safetensors_file import read_safetensors_file
from visiontasks.weights.torch_file import read_torch_file

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")

_BATCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name, without DataParallel's prefix "module.".

    Raises:
        UserError: no such file, or it is damaged, of another format, or names code.
    """
    tensors = read_safetensors_file(path) if Path(path).suffix == ".safetensors" else read_torch_file(path)
    if tensors and all(name.startswith("module.") for name in tensors):  # PyTorch's DataParallel
        tensors = {name.removeprefix("module."): array for name, array in tensors.items()}
    return tensors


def load(model: keras.Model, path: str | Path, layer_of: Callable[[str], str | None], strict: bool = True) -> list[str]:
    """Load a PyTorch checkpoint of the same architecture into a flat functional model.

    Args:
        model: the model.
        path: the checkpoint.
        layer_of: from a PyTorch module's dotted name to the Keras layer's; None for a layer that the model omits, such
            as a classification layer. An unknown name is returned unchanged, for the error.
        strict: whether a tensor that is missing, unexpected or of another shape is an error, or is skipped.

    Returns:
        A line for each thing skipped.

    Raises:
        UserError: the file cannot be read, or does not fit; the text lists what.
    """
    return transfer.assign(model, keras_arrays(model, read_checkpoint(path), layer_of), str(path), strict)


def load_whole(
    model,
    path: str | Path,
    layer_of: Callable[[str], str],
    strict: bool = True,
    change: Callable[[str, np.ndarray], np.ndarray | None] | None = None,
    grids: dict[str, tuple[int, int]] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
) -> list[str]:
    """Load a PyTorch checkpoint of the same architecture into backbone and head of a VisionModel with one head.

    Args:
        model: the model; the names of its backbone's layers and the paths of its head's must differ.
        path: the checkpoint.
        layer_of: from a PyTorch module's dotted name to the backbone's layer, or to the head's by its path within it.
        strict: as in `load`.
        change: from a tensor's name and values to the values to load; None keeps the variable's value.
        grids: {module: (rows, columns)} of dense layers on flattened feature maps; see `dense_layers`.
        tensors: the result of `read_checkpoint`, if it was called already.

    Returns:
        A line for each thing skipped.

    Raises:
        UserError: the file cannot be read, or does not fit; the text lists what.
    """
    (head,) = model.heads.values()
    variables = {v.path.removeprefix(f"{head.path}/"): v for v in (*model.backbone.weights, *head.weights)}
    layers = dict.fromkeys(path.rpartition("/")[0] for path in variables)
    layers |= {layer.name: layer for layer in model.backbone.layers}
    tensors = dict(read_checkpoint(path) if tensors is None else tensors)
    for module, grid in (grids or {}).items():
        if (name := f"{module}.weight") in tensors:
            tensors[name] = _by_position(tensors[name], grid)
    taken = tensors if change is None else {name: change(name, array) for name, array in tensors.items()}
    for name in [name for name, array in taken.items() if array is None]:
        (variable,) = _arrays(layers, {name: tensors[name]}, layer_of)
        variables.pop(variable, None)
        del taken[name]
    arrays = _arrays(layers, taken, layer_of)
    return transfer.assign_variables(model.name, variables, arrays, str(path), strict)


def keras_arrays(model: keras.Model, tensors: dict, layer_of: Callable[[str], str | None]) -> dict[str, np.ndarray]:
    """{"layer/variable": array} for a flat functional model, from the tensors of a PyTorch checkpoint; see `load`."""
    return _arrays({layer.name: layer for layer in model.layers}, tensors, layer_of)


def _arrays(layers, tensors, layer_of):
    arrays = {}
    for name, array in tensors.items():
        module, _, tensor = name.rpartition(".")
        layer = layer_of(module)
        if layer is None or tensor == "num_batches_tracked":  # a counter of PyTorch's training
            continue
        if f"{module}.running_mean" in tensors:
            tensor = _BATCH_NORM.get(tensor, tensor)
        elif tensor == "scale_weight":
            tensor = "scale"
        elif tensor == "weight":
            array, tensor = _kernel(array, layers.get(layer)), "kernel"
        arrays[f"{layer}/{tensor}" if layer in layers else name] = array
    return arrays


def _kernel(array, layer):
    if array.ndim == 4:
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        return transfer.depthwise_kernel(array) if depthwise else transfer.conv_kernel(array)
    return array.T if array.ndim == 2 else array


def dense_layers(
    path: str | Path, modules: tuple[str, ...], grid: tuple[int, int] | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fully connected layers of a PyTorch checkpoint: [(kernel float32 (in, out), bias float32 (out,)), …].

    Args:
        path: the checkpoint.
        modules: the layers' dotted names, in order.
        grid: (rows, columns) of the feature maps that are flattened for the first layer; None if they are pooled.
            PyTorch flattens them channel by channel, Keras position by position.

    Raises:
        UserError: the file cannot be read or has no such layer.
    """
    tensors = read_checkpoint(path)
    missing = [f"{m}.{t}" for m in modules for t in ("weight", "bias") if f"{m}.{t}" not in tensors]
    if missing:
        raise UserError(f"{str(path)!r} has no classification layers: missing {', '.join(missing)}.", "weights")
    kernels = [tensors[f"{module}.weight"] for module in modules]
    if grid:
        kernels[0] = _by_position(kernels[0], grid)
    return [
        (np.ascontiguousarray(kernel.T), tensors[f"{module}.bias"])
        for kernel, module in zip(kernels, modules, strict=True)
    ]


def _by_position(weight, grid):
    """A weight (units, channels × rows × columns) for maps flattened position by position."""
    units = weight.shape[0]
    return weight.reshape(units, -1, *grid).transpose(0, 2, 3, 1).reshape(units, -1)
