"""Which tensor of torchvision's SSD300-VGG16 checkpoints is which weight of a VisionModel of `vgg16` and `ssd`."""

from visiontasks.weights import vgg

# the head's arguments that make it torchvision's network, on vgg16 with ceil_pooling at 300×300
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
    """From a module of the checkpoint to the Keras layer: a backbone's by its name, the head's by its path in it.

    An unknown name comes back as it is, for the error.
    """
    where, _, rest = module.partition(".")
    kind, _, number = rest.partition(".")
    if where == "backbone" and kind == "features":
        return _FEATURES(rest)
    if where == "backbone" and kind == "extra":
        level, _, part = number.partition(".")
        return _DEEP.get(number) or f"extra{level}/{ {'0': 'reduce', '2': 'conv'}.get(part, part) }"
    if where == "head" and kind in _PREDICTORS:
        return _PREDICTORS[kind] + number.removeprefix("module_list.")
    return "scale" if module == "backbone" else module
