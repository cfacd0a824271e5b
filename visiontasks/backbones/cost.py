"""The costs of a network layer by layer: parameters, multiply-adds, output shapes and receptive fields."""

import dataclasses
import math

import keras

from visiontasks.backbones.backbone import Graph


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """The costs of one layer for one image.

    Attributes:
        name, kind: the layer's name and class.
        shape: of its output, without the batch: (H, W, C) or (C,).
        parameters: number of trainable weights.
        multiply_adds: of convolutions and matrix products; other operations count zero, as in papers.
        stride: input pixels between neighboring positions; None after a global pooling.
        receptive_field: width and height of the input region of one position, ignoring borders; None after a global
            pooling.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    stride: int | None
    receptive_field: int | None


def layer_costs(model: keras.Model) -> list[LayerCost]:
    """The costs of every layer of a functional model with a fixed size, in the order of computation.

    Raises:
        ValueError: the model has a variable size.
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
            multiply_adds=_multiply_adds(node.operation, _shape_before(node), node.outputs[0].shape),
            stride=graph.stride(node.outputs[0]),
            receptive_field=graph.receptive_field(node.outputs[0]),
        )
        for node in graph.nodes
    ]


def _shape_before(node):
    return node.input_tensors[0].shape if node.input_tensors else None


def _multiply_adds(operation, before, shape) -> int:
    """Of a layer with input shape `before` and output `shape`: each output times the number of inputs it sums over."""
    parts = operation.layers if isinstance(operation, keras.Sequential) else getattr(operation, "convolutions", ())
    if parts:
        total = 0
        for layer in parts:
            after = layer.compute_output_shape(before)
            total, before = total + _multiply_adds(layer, before, after), after
        return total
    positions = math.prod(shape[1:-1])
    if isinstance(operation, keras.layers.SeparableConv2D):
        return positions * (math.prod(operation.depthwise_kernel.shape) + math.prod(operation.pointwise_kernel.shape))
    if isinstance(operation, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)):
        return positions * math.prod(operation.kernel.shape)
    return 0
