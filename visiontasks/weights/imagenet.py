"""The ImageNet classes, and the classification layers that ImageNet checkpoints end in."""

import functools
from pathlib import Path

import keras
import numpy as np

from visiontasks import catalog
from visiontasks.errors import UserError
from visiontasks.weights import efficientnet_lite

# what may stand between the last layer with weights, the pooling before it, and the output
_WEIGHTLESS = (keras.layers.Activation, keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape)


@functools.cache
def class_names() -> tuple[str, ...]:
    """The 1000 English names, all different, in the order of the checkpoints."""
    lines = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


def imagenet_classifier(backbone_name: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The last layer of a backbone's ImageNet checkpoint: kernel (features, 1000), bias (1000,), and the class names.

    It belongs behind global average pooling of the tap "top" where the backbone has one, else of its last level.

    Raises:
        UserError: the checkpoint does not end in global average pooling and one dense layer, or cannot be had.
    """
    part = catalog.find("backbones", backbone_name)
    if backbone_name in efficientnet_lite.PACKAGED:
        path = efficientnet_lite.checkpoint_path(backbone_name)
        return *efficientnet_lite.classification_layer(path), class_names()
    if part.module != "visiontasks.backbones.keras_application":
        raise UserError(
            f"weights: {backbone_name} comes without an ImageNet classification layer. Use one of "
            f"{', '.join(efficientnet_lite.PACKAGED)} or a backbone of keras.applications such as resnet50."
        )
    make = getattr(keras.applications, part.variant)
    last_layer(make(weights=None))  # says no before half a gigabyte is downloaded
    try:
        application = make(weights="imagenet")
    except Exception as error:
        raise UserError(
            f"weights: the ImageNet weights of {part.variant} could not be downloaded ({error}). Connect to the "
            "internet, or put the file that is named there into ~/.keras/models; efficientnet_lite0 needs no download."
        ) from error
    return *last_layer(application), class_names()


def last_layer(application: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (features, classes) and bias (classes,) of a classifier that ends in global average pooling and one layer.

    Raises:
        UserError: it ends otherwise.
    """
    found, tensor = None, application.output
    while True:
        operation = tensor._keras_history.operation
        if found and isinstance(operation, keras.layers.GlobalAveragePooling2D):
            break
        pointwise = isinstance(operation, keras.layers.Conv2D) and operation.kernel_size == (1, 1)
        if not found and (isinstance(operation, keras.layers.Dense) or pointwise):
            found = operation
        elif not isinstance(operation, _WEIGHTLESS):
            raise UserError(
                f"weights: {application.name} ends in more than global average pooling and one dense layer, so its "
                "own ImageNet classes cannot be taken over. Use efficientnet_lite0, resnet50, inception_v3 or another."
            )
        (tensor,) = operation._inbound_nodes[0].input_tensors
    kernel, bias = map(keras.ops.convert_to_numpy, (found.kernel, found.bias))
    return kernel.reshape(kernel.shape[-2:]), bias
