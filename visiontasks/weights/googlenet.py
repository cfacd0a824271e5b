"""Maps the tensors of torchvision's GoogLeNet checkpoint to Keras variables."""

import re

DENSE = {"": (("fc",), None)}
DENSE |= {aux: ((f"{aux}.fc1", f"{aux}.fc2"), (4, 4)) for aux in ("aux1", "aux2")}

_BRANCHES = {
    "branch1": "1x1",
    "branch2.0": "3x3_reduce",
    "branch2.1": "3x3",
    "branch3.0": "5x5_reduce",
    "branch3.1": "5x5",
    "branch4.1": "pool_project",
}


def layer_of(module: str) -> str | None:
    """The Keras layer of a module: inception_3a_3x3_reduce_conv for inception3a.branch2.0.conv."""
    if module.split(".")[-1].startswith("fc"):
        return None
    inception = re.fullmatch(r"inception(\d\w)\.(branch\d(?:\.\d)?)\.(conv|bn)", module)
    if inception and inception[2] in _BRANCHES:
        return f"inception_{inception[1]}_{_BRANCHES[inception[2]]}_{inception[3]}"
    return module.replace(".", "_")
