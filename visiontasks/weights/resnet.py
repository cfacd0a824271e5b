"""Maps the tensors of torchvision's ResNet, ResNeXt and Wide ResNet checkpoints to Keras variables."""

import re

DENSE = {"": (("fc",), None)}


def layer_of(module: str) -> str | None:
    """The Keras layer of a module: layer1_0_conv2 for layer1.0.conv2; downsample.0 is shortcut_conv."""
    if module == "fc":
        return None
    shortcut = re.fullmatch(r"(layer\d\.\d+)\.downsample\.([01])", module)
    if shortcut:
        module = f"{shortcut[1]}.shortcut_{('conv', 'bn')[int(shortcut[2])]}"
    return module.replace(".", "_")
