"""`NearestResize`: feature maps at the size of others."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="visiontasks")
class NearestResize(keras.layers.Layer):
    """The first of two feature maps as large as the second, each position a copy of the one it falls on.

    Doubling is as any upsampling does it; a level that was halved with rounding up loses its last row or column; any
    other size is taken evenly from what there is. The sizes must be known when it is called.

    Shapes: [(B, h, w, C), (B, H, W, any)] to (B, H, W, C).
    """

    def call(self, inputs):
        x, like = inputs
        for axis in (1, 2):
            if like.shape[axis] is None:
                raise ValueError("the picture's height and width must be known when the model is called.")
            x = stretched(x, like.shape[axis], axis)
        return x

    def compute_output_shape(self, input_shapes):
        x, like = input_shapes
        return (x[0], *like[1:3], x[3])


def stretched(x, length: int, axis: int):
    """A map at another length along one axis: doubled, doubled without the last, or taken evenly from what there is."""
    present = x.shape[axis]
    if length == present:
        return x
    if 2 * present - length in (0, 1):
        x = ops.repeat(x, 2, axis=axis)
        return x[:, :length] if axis == 1 else x[:, :, :length]
    return ops.take(x, [i * present // length for i in range(length)], axis=axis)
