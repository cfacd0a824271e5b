"""`L2Pooling2D`: the length of the vector of values in each window."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Count


@keras.saving.register_keras_serializable(package="visiontasks")
class L2Pooling2D(Checked, keras.layers.Layer):
    """√Σ x² over each window, in float32; its gradient where all values are 0 is 0.

    A. Hyvärinen, U. Köster: Complex cell pooling and the statistics of natural images (2007); P. Sermanet, S. Chintala,
    Y. LeCun: Convolutional Neural Networks Applied to House Numbers Digit Classification (2012),
    https://arxiv.org/abs/1204.3968, section 2.1. Windows are not padded.

    Shapes: (B, H, W, C) to (B, ⌊(H - pool_size) / strides⌋ + 1, …, C).

    Args:
        pool_size: width and height of a window.
        strides: from one window to the next; by default pool_size.
    """

    padding = "valid"

    def __init__(self, pool_size: Count = 2, strides: Count | None = None, **kwargs):
        super().__init__(**kwargs)
        self.pool_size, self.strides = pool_size, strides or pool_size

    def call(self, features):
        squares = ops.square(ops.cast(features, "float32"))
        means = ops.average_pool(squares, self.pool_size, self.strides, data_format="channels_last")
        total = self.pool_size**2 * means
        positive = total > 0
        root = ops.sqrt(ops.where(positive, total, 1.0))  # the slope of the root of 0 is infinite
        return ops.cast(ops.where(positive, root, 0.0), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sizes = (length and (length - self.pool_size) // self.strides + 1 for length in (height, width))
        return (batch, *sizes, channels)
