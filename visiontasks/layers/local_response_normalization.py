"""`LocalResponseNormalization`: divides each channel by the activity of its neighbors."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Count, NonNegative, Positive


@keras.saving.register_keras_serializable(package="visiontasks")
class LocalResponseNormalization(Checked, keras.layers.Layer):
    """x / (bias + alpha / size · Σ x²) ** beta, the sum over the `size` channels around each one; in float32.

    A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks (2012),
    section 3.3, has size 5, alpha 1e-4, beta 0.75, bias 2, and does not divide alpha by size. Caffe and PyTorch divide.

    Shapes: (..., C) to the same.

    Args:
        size: number of channels in the sum, odd.
        alpha, beta, bias: the constants of the formula.

    Raises:
        ValueError: an even size.
    """

    def __init__(self, size: Count = 5, alpha: NonNegative = 1e-4, beta: float = 0.75, bias: Positive = 1.0, **kwargs):
        super().__init__(**kwargs)
        if size % 2 == 0:
            raise ValueError(f"size: expected an odd number of channels, got {size!r}.")
        self.size, self.alpha, self.beta, self.bias = size, alpha, beta, bias

    def call(self, features):
        x = ops.cast(features, "float32")
        channels, half = x.shape[-1], self.size // 2
        squares = ops.pad(ops.square(x), [[0, 0]] * (len(x.shape) - 1) + [[half, half]])
        total = sum(squares[..., i : i + channels] for i in range(self.size))
        return ops.cast(x / (self.bias + self.alpha / self.size * total) ** self.beta, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
