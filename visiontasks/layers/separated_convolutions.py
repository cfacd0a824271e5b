"""`SpatiallySeparableConv2D` and `FlattenedConv2D`: a k×k convolution as convolutions along one axis at a time."""

from typing import Literal

import keras

from visiontasks.arguments import Channels, Checked, Count

Padding = Literal["valid", "same"]


class _InTurn(Checked, keras.layers.Layer):
    """Convolutions one after another that count as one.

    Attributes:
        convolutions: the layers, in order.
        kernel_size, strides, padding: of them together, as of a Keras convolution.
    """

    convolutions = ()
    strides = 1

    def build(self, input_shape):
        for layer in self.convolutions:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, features):
        for layer in self.convolutions:
            features = layer(features)
        return features

    def compute_output_shape(self, input_shape):
        for layer in self.convolutions:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape


@keras.saving.register_keras_serializable(package="visiontasks")
class SpatiallySeparableConv2D(_InTurn):
    """A k×1 convolution, then a 1×k convolution: they see k×k pixels with 2k weights for each pair of channels, not k².

    R. Rigamonti, A. Sironi, V. Lepetit, P. Fua: Learning Separable Filters (2013); as C. Szegedy et al. use it in
    Rethinking the Inception Architecture for Computer Vision (2015), https://arxiv.org/abs/1512.00567, section 3.2.
    Not Keras's SeparableConv2D, which separates channels from positions.

    Shapes: (B, H, W, C) to (B, h, w, filters), h and w as of a k×k convolution.

    Args:
        filters: number of output channels, and of those in between.
        kernel_size: k.
        strides: from one position to the next, along both axes.
        padding: valid or same, as in Keras.
        use_bias: whether the second convolution adds a bias.
    """

    def __init__(
        self,
        filters: Channels,
        kernel_size: Count = 3,
        strides: Count = 1,
        padding: Padding = "valid",
        use_bias: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        both = {"padding": padding, "dtype": self.dtype_policy}
        self.kernel_size, self.strides, self.padding = kernel_size, strides, padding
        self.convolutions = [
            keras.layers.Conv2D(filters, (kernel_size, 1), (strides, 1), use_bias=False, name="down", **both),
            keras.layers.Conv2D(filters, (1, kernel_size), (1, strides), use_bias=use_bias, name="across", **both),
        ]


@keras.saving.register_keras_serializable(package="visiontasks")
class FlattenedConv2D(_InTurn):
    """A convolution of rank 1: across channels, then down, then to the side, one filter of each for an output channel.

    Each filter of the k×k×C convolution that it stands for is the outer product of C, k and k weights. J. Jin,
    A. Dundar, E. Culurciello: Flattened Convolutional Neural Networks for Feedforward Acceleration (2014),
    https://arxiv.org/abs/1412.5474, section 3.2.

    Shapes: (B, H, W, C) to (B, h, w, filters), h and w as of a k×k convolution.

    Args:
        filters: number of output channels.
        kernel_size: k.
        padding: valid or same, as in Keras.
        use_bias: whether the last convolution adds a bias.
    """

    def __init__(
        self,
        filters: Channels,
        kernel_size: Count = 3,
        padding: Padding = "valid",
        use_bias: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        both = {"padding": padding, "dtype": self.dtype_policy}
        self.kernel_size, self.padding = kernel_size, padding
        self.convolutions = [
            keras.layers.Conv2D(filters, 1, use_bias=False, name="lateral", dtype=self.dtype_policy),
            keras.layers.DepthwiseConv2D((kernel_size, 1), use_bias=False, name="down", **both),
            keras.layers.DepthwiseConv2D((1, kernel_size), use_bias=use_bias, name="across", **both),
        ]
