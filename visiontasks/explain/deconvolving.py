"""Deconvolution: what in an image excites a channel, brought back to the image through the network."""

import keras
import numpy as np
from keras import ops

from visiontasks.errors import UserError
from visiontasks.explain.channels import check_channels
from visiontasks.explain.gradients import SCALES, gradients
from visiontasks.layers.dilated_max_pooling import DilatedMaxPooling2D

_SWITCHES = (keras.layers.MaxPooling2D, DilatedMaxPooling2D)
_LEAKY = (keras.layers.LeakyReLU, keras.layers.PReLU, keras.layers.ELU)  # layers without an attribute `activation`


class Deconvnet:
    """The deconvolutional network of a tap of a backbone.

    Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901, section 2.1. A value of a feature map goes back to the
    image: through the transposed convolutions, through max poolings to where the maximum was, and at each ReLU it is
    rectified itself. That is the gradient but for ReLU, whose gradient passes where its input was positive (Simonyan et
    al. 2013, https://arxiv.org/abs/1312.6034, section 4). So it is computed here: as the gradient of a copy of the
    backbone with another way back through ReLU. Residual connections and normalizations come with the gradient.

    Args:
        backbone: a functional keras.Model from images; that of a VisionModel, or of `vt.backbone`.
        tap: one of its outputs, such as C3.
        guided: let a value pass ReLU only where both the value and ReLU's input are positive: guided backpropagation
            (Springenberg et al. 2014, https://arxiv.org/abs/1412.6806, section 3.4). None: if there is no max pooling,
            since all that a plain deconvnet knows of the image is where the maxima were.

    Raises:
        UserError: there is no such tap, or the network before it has other activations than ReLU.
    """

    def __init__(self, backbone: keras.Model, tap: str, guided: bool | None = None):
        check_channels(backbone, tap, ())
        before = keras.Model(backbone.input, backbone.output[tap])
        if guided is None:
            guided = not any(isinstance(layer, _SWITCHES) for layer in before._flatten_layers())
        copy = keras.models.clone_model(before, clone_function=lambda layer: _rectifying(layer, guided), recursive=True)
        copy.set_weights(before.get_weights())
        self._backbone, self._tap = backbone, tap
        # a Function, unlike a Model, leaves floating pixels as they are
        self._network = keras.Function(copy.input, copy.output)
        self._scale = SCALES.get(keras.backend.standardize_dtype(copy.output.dtype), 1.0)

    def __call__(self, images: np.ndarray, channel: int, positions=None) -> np.ndarray:
        """Bring one value of a channel back to each image.

        Args:
            images: uint8 (B, H, W, 3).
            channel: the number of the channel.
            positions: int (B, 2), row and column on the tap; None for the channel's highest value in each image.

        Returns:
            float32 (B, H, W, 3); 0 outside of the position's receptive field.

        Raises:
            UserError: there is no such channel.
        """
        check_channels(self._backbone, self._tap, [channel])
        images = ops.cast(ops.convert_to_tensor(images), "float32")

        def starts(pixels):
            cells = ops.cast(self._network(pixels)[..., channel], "float32")
            size, cells = cells.shape[1:], ops.reshape(cells, (len(images), -1))
            if positions is None:
                places = ops.argmax(cells, axis=1)
            else:
                places = ops.convert_to_tensor(np.ravel_multi_index(np.transpose(positions), size))
            return ops.abs(ops.take_along_axis(cells, places[:, None], axis=1)[:, 0])

        # the paper starts from the value; what comes back is proportional to its size, and float16 is not large enough
        # for large ones
        values, slopes = map(ops.convert_to_numpy, gradients(starts, images, self._scale))
        return values[:, None, None, None] * slopes


def _rectifying(layer, guided):
    """A copy of a layer whose ReLU, if it is or has one, rectifies on the way back too."""
    copy = layer.__class__.from_config(layer.get_config())
    relu = isinstance(layer, keras.layers.ReLU)
    if relu and not layer.negative_slope and not layer.threshold:
        return keras.layers.Activation(_rectified(copy, guided), name=layer.name, dtype=layer.dtype_policy)
    activation = getattr(layer, "activation", None)
    if activation in (keras.activations.relu, keras.activations.relu6):
        copy.activation = _rectified(activation, guided)
    elif relu or isinstance(layer, _LEAKY) or activation not in (None, keras.activations.linear):
        raise UserError(
            f"deconvolution is defined only for ReLU, but layer {layer.name!r} uses "
            f"{getattr(activation, '__name__', type(layer).__name__)}. Choose a backbone such as vgg16, resnet18 or "
            "efficientnet_lite0, or another map, such as integrated gradients.",
            "backbone",
        )
    return copy


def _rectified(relu, guided):
    @ops.custom_gradient
    def function(x):
        def back(*slopes, upstream=None):
            slopes = ops.relu(slopes[0] if upstream is None else upstream)  # PyTorch gives it by name
            return ops.where(x > 0, slopes, ops.zeros_like(slopes)) if guided else slopes

        return relu(x), back

    return function
