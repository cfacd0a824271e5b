"""`MaxPoolingWithPositions2D` and `MaxUnpooling2D`: max pooling that can be undone."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Count
from visiontasks.ops import max_pooling


@keras.saving.register_keras_serializable(package="visiontasks")
class MaxPoolingWithPositions2D(Checked, keras.layers.Layer):
    """Max pooling in windows that do not overlap, and the position of each maximum in its window.

    Shapes: (B, H, W, C) to (B, ⌈H / pool_size⌉, ⌈W / pool_size⌉, C), twice: the maxima, and int32 positions,
    0 to pool_size² - 1, row by row; of equal values the first. Windows at the bottom and the right may be cut. Height
    and width must be known when the layer is called.

    Args:
        pool_size: width and height of a window.
    """

    padding = "end"  # windows exceed the map at the bottom and the right alone

    def __init__(self, pool_size: Count = 2, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = self.strides = pool_size
        self.pool = keras.layers.MaxPooling2D(pool_size, padding="valid", name="pool", dtype=self.dtype_policy)

    def call(self, features):
        height, width = _known(features)
        edge = [[0, 0], [0, -height % self.pool_size], [0, -width % self.pool_size], [0, 0]]
        padded = ops.pad(features, edge, constant_values=-float("inf"))
        return self.pool(padded), max_pooling.max_positions(features, self.pool_size)

    def compute_output_spec(self, features):
        batch, height, width, channels = features.shape
        rows, columns = (length and -(-length // self.pool_size) for length in (height, width))
        shape = (batch, rows, columns, channels)
        return keras.KerasTensor(shape, self.compute_dtype), keras.KerasTensor(shape, "int32")


@keras.saving.register_keras_serializable(package="visiontasks")
class MaxUnpooling2D(Checked, keras.layers.Layer):
    """Puts each value back at the position of the maximum, with zeros around it: the inverse of max pooling there.

    M. D. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks (2014),
    https://arxiv.org/abs/1311.2901, section 2.1.

    Shapes: [(B, h, w, C), int32 positions (B, h, w, C)] to (B, h * pool_size, w * pool_size, C). With the map that was
    pooled, (B, H, W, any), as a third input, the result has its height and width.

    Args:
        pool_size: width and height of a window, as of the pooling.
    """

    def __init__(self, pool_size: Count = 2, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = pool_size

    def call(self, inputs):
        features, positions, *like = inputs
        x = max_pooling.max_unpool(features, positions, self.pool_size)
        if like:
            height, width = _known(like[0])
            x = x[:, :height, :width]
        return x

    def compute_output_spec(self, inputs):
        batch, height, width, channels = inputs[0].shape
        size = [length and length * self.pool_size for length in (height, width)]
        if len(inputs) > 2:
            size = inputs[2].shape[1:3]
        return keras.KerasTensor((batch, *size, channels), self.compute_dtype)


def _known(features):
    height, width = features.shape[1:3]
    if height is None or width is None:
        raise ValueError("the image's height and width must be known when the model is called.")
    return height, width
