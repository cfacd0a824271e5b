"""Maps the tensors of torchvision's SSD300-VGG16 checkpoints to the weights of a VisionModel of `vgg16` and `ssd`."""

from visiontasks.weights import vgg

# the head's arguments for torchvision's network, on vgg16 with ceil_pooling at 300×300
SSD300 = {
    "levels": ["C3", "C4"],
    "extra": ["half", "half", "trim", "trim"],
    "batch_norm": False,
    "atrous": True,
    "aspect_ratios": [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
    "scales": [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
    "steps": [8, 16, 32, 64, 100, 300],
}

_FEATURES = vgg.layer_of((2, 2, 3, 3, 3), False)
_DEEP = {"0.1": "block5_conv1", "0.3": "block5_conv2", "0.5": "block5_conv3", "0.7.1": "fc6", "0.7.3": "fc7"}
_PREDICTORS = {"classification_head": "classes", "regression_head": "boxes"}


def layer_of(module: str) -> str:
    """The Keras layer of a module in the checkpoint: a backbone's layer by name, a head's by its path in the head.

    An unknown name is returned unchanged, for the error.
    """
    network, _, rest = module.partition(".")
    kind, _, number = rest.partition(".")
    if network == "backbone" and kind == "features":
        return _FEATURES(rest)
    if network == "backbone" and kind == "extra":
        level, _, index = number.partition(".")
        return _DEEP.get(number) or f"extra{level}/{ {'0': 'reduce', '2': 'conv'}.get(index, index) }"
    if network == "head" and kind in _PREDICTORS:
        return _PREDICTORS[kind] + number.removeprefix("module_list.")
    return "scale" if module == "backbone" else module
