"""Estimates the memory of a training step without running one."""

import math

from keras import backend

# measured on TensorFlow and a CPU, by batches of 4 and of 16: an image of a U-Net at 256² takes 1.06 times the estimate
# of its activations, one of a ResNet-18 at 128² 0.4 times
_MARGIN = 1.25


def step_bytes(model, batch: int) -> dict[str, int]:
    """An estimate of a training step's memory in bytes: {"weights", "training state", "activations"}.

    Counts the layers' outputs at the model's image size, which the backward pass keeps. What a framework needs besides
    (convolution workspaces, copies) is not included.

    Args:
        model: a VisionModel on a backbone built for a fixed size.
        batch: images per step.
    """
    count = sum(math.prod(v.shape) for v in model.variables)
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    activations = 0
    for layer in model._flatten_layers():  # private: Keras has no public walk over nested layers
        if list(layer._flatten_layers(include_self=False, recursive=False)):
            continue  # a container; its layers are counted
        size = 2 if backend.standardize_dtype(layer.compute_dtype) in ("float16", "bfloat16") else 4
        activations += size * sum(math.prod(d or 1 for d in shape[1:]) for shape in _output_shapes(layer))
    # gradient and Adam's two moments of each trainable weight, in float32
    return {"weights": 4 * count, "training state": 12 * trainable, "activations": batch * activations}


def fitting_batch(memory: dict[str, int], batch: int, room: int) -> int | None:
    """The largest batch below `batch` whose step fits by the estimate; None if not even one image does.

    Args:
        memory: of `step_bytes`, for `batch`.
        batch: images per step.
        room: bytes that are free before the first step.
    """
    each = _MARGIN * memory["activations"] / batch
    most = int((room - memory["weights"] - memory["training state"]) / each) if each else batch
    most = min(most, batch - 1)
    return 2 ** int(math.log2(most)) if most >= 1 else None


def _output_shapes(layer):
    # private: where a functional backbone calls a layer, Keras gives its outputs' shapes in no public way
    if getattr(layer, "_inbound_nodes", None):
        outputs = [t for node in layer._inbound_nodes for t in node.output_tensors]
        return [tuple(t.shape) for t in outputs]
    config = layer.get_build_config() or {}
    shape = config.get("input_shape")
    if not shape or isinstance(shape, dict):
        return []
    return [tuple(layer.compute_output_shape(tuple(shape)))]
