"""What a network costs and sees: parameters, multiply-adds, memory and receptive fields, layer by layer."""

import dataclasses
import math

import keras

from visiontasks.backbones.backbone import Graph


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One layer of a network for one picture.

    Attributes:
        name, kind: the layer's name and class.
        shape: of its output, without the batch: (H, W, C) or (C,).
        parameters: what training changes of its weights.
        multiply_adds: of its convolutions and matrix products; all else counts nothing, as papers count.
        stride: input pixels from one position to the next; None behind a global pooling.
        receptive_field: input pixels that one position sees along a side, borders aside; None behind a global pooling.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    stride: int | None
    receptive_field: int | None


def layer_costs(model: keras.Model) -> list[LayerCost]:
    """Every layer of a functional model that was built for a fixed size, in the order of computation.

    Raises:
        ValueError: the model has a free side.
    """
    if None in model.input.shape[1:]:
        raise ValueError(f"input_shape: expected a fixed size, got {tuple(model.input.shape[1:])}.")
    outputs = model.output if isinstance(model.output, dict) else {"": model.output}
    graph = Graph(model.input, list(outputs.values()))
    return [
        LayerCost(
            name=node.operation.name,
            kind=type(node.operation).__name__,
            shape=tuple(node.outputs[0].shape[1:]),
            parameters=sum(math.prod(v.shape) for v in getattr(node.operation, "trainable_variables", ())),
            multiply_adds=_multiply_adds(node.operation, node.outputs[0].shape),
            stride=graph.stride(node.outputs[0]),
            receptive_field=graph.receptive_field(node.outputs[0]),
        )
        for node in graph.nodes
    ]


def _multiply_adds(operation, shape) -> int:
    """Of a layer whose output has the shape (batch, …): each output number times the inputs it is summed over."""
    if isinstance(operation, keras.Sequential):
        return sum(_multiply_adds(layer, layer.output.shape) for layer in operation.layers)
    positions = math.prod(shape[1:-1])
    if isinstance(operation, keras.layers.SeparableConv2D):
        return positions * (math.prod(operation.depthwise_kernel.shape) + math.prod(operation.pointwise_kernel.shape))
    if isinstance(operation, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)):
        return positions * math.prod(operation.kernel.shape)
    return 0
