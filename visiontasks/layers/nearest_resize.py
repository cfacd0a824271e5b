"""`NearestResize`: resizes feature maps to the size of others."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="visiontasks")
class NearestResize(keras.layers.Layer):
    """Resizes the first feature map to the height and width of the second by the nearest position.

    A factor of two repeats every position; if the larger size is odd, the last row or column is dropped. Other sizes
    take evenly spaced positions. The sizes must be known when the layer is called.

    Shapes: [(B, h, w, C), (B, H, W, any)] to (B, H, W, C).
    """

    def call(self, inputs):
        x, like = inputs
        for axis in (1, 2):
            if like.shape[axis] is None:
                raise ValueError("the image's height and width must be known when the model is called.")
            x = resize_axis(x, like.shape[axis], axis)
        return x

    def compute_output_shape(self, input_shapes):
        x, like = input_shapes
        return (x[0], *like[1:3], x[3])


def resize_axis(x, length: int, axis: int):
    """A map with another length along one axis: doubled, doubled without the last, or evenly spaced positions."""
    present = x.shape[axis]
    if length == present:
        return x
    if 2 * present - length in (0, 1):
        x = ops.repeat(x, 2, axis=axis)
        return x[:, :length] if axis == 1 else x[:, :, :length]
    return ops.take(x, [i * present // length for i in range(length)], axis=axis)
