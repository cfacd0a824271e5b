"""`Folding`: a copy of a model for prediction, whose batch normalizations lie in the convolutions before them.

At prediction a normalization multiplies each channel by one constant and adds another. The kernel of the convolution
takes the former; what remains is a bias.
"""

import keras
import numpy as np
from keras import layers, ops

from visiontasks.backbones.backbone import Graph, copy_weights
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.layers.normalization import FrozenBatchNormalization

# {layer: (its kernel, the kernel's axes that number the output channels)}
KERNELS = {
    layers.Conv2D: ("kernel", (3,)),
    layers.Conv2DTranspose: ("kernel", (2,)),
    layers.DepthwiseConv2D: ("kernel", (2, 3)),
    layers.SeparableConv2D: ("pointwise_kernel", (3,)),
}
SAMPLED = 256  # values of a weight that are compared, at least


class Folding:
    """The folded copy of a VisionModel: made on the first call, and again when the model's weights have changed.

    Of each weight some hundred values tell, spread over all of it, so a change of a few values in a large kernel may
    pass unseen. To compare every value would take half as long as predicting for one image.
    """

    def __init__(self, model: keras.Model):
        self.model, self._copy, self._values, self._samples = model, None, None, None

    def __call__(self) -> keras.Model:
        if self._samples is None:
            self._samples = _sampler(self.model.weights)
        values = ops.convert_to_numpy(self._samples())
        if self._copy is None or not np.array_equal(values, self._values, equal_nan=True):
            self._copy, self._values = folded(self.model), values
        return self._copy


def _sampler(weights):
    """A function that gives values of all these weights as they are now, (N,) float32."""

    def samples():
        flat = (ops.reshape(ops.convert_to_tensor(weight), [-1]) for weight in weights)
        # an odd step meets every channel where their number is a power of two, and nearly all others
        return ops.concatenate([ops.cast(values[:: values.shape[0] // SAMPLED | 1], "float32") for values in flat])

    if keras.backend.backend() != "tensorflow":
        return samples
    from tensorflow import function

    return function(samples)  # one call into the backend instead of a thousand


def folded(model: keras.Model) -> keras.Model:
    """A copy of a VisionModel with its current weights, which predicts the same within rounding; not for training.

    A normalization is folded if it alone takes the output of a convolution without activation: in functional networks,
    and in layers that list such pairs as `convolutions_with_norms`. Returned as it is: a model that cannot be rebuilt
    from its config, such as one with lambdas, and any on JAX, whose compiler fuses a normalization with the activation
    that follows anyway.

    Args:
        model: the VisionModel, which does not change.
    """
    if keras.backend.backend() == "jax":
        return model
    try:
        copy = keras.models.clone_model(model)
        copy_weights(model, copy)
    except Exception:  # other people's layers raise what they like, and prediction does not depend on folding
        return model
    for convolution, norm in _pairs(copy):
        _fold(convolution, norm)
    copy.jit_compile = model.jit_compile
    return copy


def _pairs(model):
    for layer in model._flatten_layers():  # private: Keras has no public walk over nested layers
        yield from getattr(layer, "convolutions_with_norms", ())
        if isinstance(layer, keras.Function):
            yield from _of_graph(layer)


def _of_graph(network):
    nodes = Graph(network.inputs, network.outputs).nodes
    users = [id(tensor) for node in nodes for tensor in node.input_tensors] + list(map(id, network.outputs))
    kinds = (BatchNormalization, FrozenBatchNormalization)  # a subclass may do more
    for norm in (node.operation for node in nodes if type(node.operation) in kinds):
        # private: Keras offers neither the calls of a layer nor the layer that made a tensor
        convolution = norm.input._keras_history.operation if len(norm._inbound_nodes) == 1 else None
        if (
            type(convolution) in KERNELS
            and convolution.data_format == "channels_last"
            and norm.axis in (-1, 3)
            and not getattr(convolution, "lora_enabled", False)  # its kernel is a sum
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
