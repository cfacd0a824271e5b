"""`DilatedMaxPooling2D`: max pooling at every position, for networks whose later strides are taken back."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Count


@keras.saving.register_keras_serializable(package="visiontasks")
class DilatedMaxPooling2D(Checked, keras.layers.Layer):
    """The maximum of every `dilation_rate`-th value of a window that begins at each position; the size stays.

    In a network whose strides before it were taken back by a factor of `dilation_rate`, every dilation_rate-th of its
    outputs is what max pooling gave there (L.-C. Chen et al. 2017, https://arxiv.org/abs/1606.00915, section 3.1).

    Shapes: (B, H, W, C) to the same; beyond the bottom and the right there is nothing.

    Args:
        pool_size: number of rows and of columns of a window.
        dilation_rate: from one of them to the next.
    """

    strides, padding = 1, "end"  # windows exceed the map at the bottom and the right alone

    def __init__(self, pool_size: Count = 2, dilation_rate: Count = 1, **kwargs):
        super().__init__(**kwargs)
        self.pool_size, self.dilation_rate = pool_size, dilation_rate

    def call(self, features):
        reach = (self.pool_size - 1) * self.dilation_rate
        for axis in (1, 2):
            edge = [[0, 0]] * 4
            edge[axis] = [0, reach]
            padded = ops.pad(features, edge, constant_values=-float("inf"))
            for start in range(self.dilation_rate, reach + 1, self.dilation_rate):
                window = slice(start, start - reach or None)
                features = ops.maximum(features, padded[:, window] if axis == 1 else padded[:, :, window])
        return features

    def compute_output_shape(self, input_shape):
        return input_shape
