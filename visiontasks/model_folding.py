"""`folded`: a copy of a model for prediction, whose batch normalizations lie in the convolutions before them.

At prediction a normalization multiplies each channel by a constant and adds another. A convolution can do the former
with its kernel, and every backend adds a constant while it convolves.
"""

import keras
import numpy as np
from keras import layers, ops

from visiontasks.backbones.backbone import Graph
from visiontasks.layers.batch_normalization import BatchNormalization

# {layer: (its kernel, the kernel's axes that number the output channels)}
KERNELS = {
    layers.Conv2D: ("kernel", (3,)),
    layers.Conv2DTranspose: ("kernel", (2,)),
    layers.DepthwiseConv2D: ("kernel", (2, 3)),
    layers.SeparableConv2D: ("pointwise_kernel", (3,)),
}


def folded(model: keras.Model) -> keras.Model:
    """A copy of a VisionModel that predicts the same within rounding, faster; training it is not meant.

    Folded are the normalizations that alone follow a convolution without activation: in functional networks, and in
    layers that name their pairs of both as `normalized`.

    Args:
        model: the VisionModel; it keeps its weights. The copy has those of now.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.jit_compile = model.jit_compile
    for convolution, norm in _pairs(copy):
        _fold(convolution, norm)
    return copy


def _pairs(model):
    for layer in model._flatten_layers():  # private: Keras has no public walk over nested layers
        yield from getattr(layer, "normalized", ())
        if isinstance(layer, keras.Function):
            yield from _of_graph(layer)


def _of_graph(network):
    nodes = Graph(network.inputs, network.outputs).nodes
    users = [id(tensor) for node in nodes for tensor in node.input_tensors] + list(map(id, network.outputs))
    for norm in (node.operation for node in nodes if isinstance(node.operation, BatchNormalization)):
        # private: Keras offers neither the calls of a layer nor the layer that made a tensor
        convolution = norm.input._keras_history.operation if len(norm._inbound_nodes) == 1 else None
        if (
            type(convolution) in KERNELS
            and convolution.activation is keras.activations.linear
            and len(convolution._inbound_nodes) == 1
            and users.count(id(norm.input)) == 1
        ):
            yield convolution, norm


def _fold(convolution, norm):
    factor = 1 / np.sqrt(ops.convert_to_numpy(norm.moving_variance).astype("float64") + norm.epsilon)
    if norm.scale:
        factor = factor * ops.convert_to_numpy(norm.gamma)
    name, axes = KERNELS[type(convolution)]
    kernel = getattr(convolution, name)
    kernel.assign(kernel * factor.reshape([kernel.shape[axis] if axis in axes else 1 for axis in range(4)]))
    shift = -ops.convert_to_numpy(norm.moving_mean) * factor
    if convolution.use_bias:
        shift, zeros = shift + ops.convert_to_numpy(convolution.bias) * factor, np.zeros_like(shift)
        convolution.bias.assign(zeros)
    norm.only_shift(shift if norm.beta is None else shift + ops.convert_to_numpy(norm.beta))
