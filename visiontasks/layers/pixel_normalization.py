"""`PixelNormalization`: scales stored pixels to the range that the weights were trained with."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Positive

# mean and standard deviation of ImageNet's training images, as used for torchvision's weights
IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


@keras.saving.register_keras_serializable(package="visiontasks")
class PixelNormalization(Checked, keras.layers.Layer):
    """(pixels - mean) / std for each channel, computed in float32 whatever the precision.

    Shapes: uint8 or float (..., 3), RGB 0..255, to the layer's compute dtype (..., 3).

    Args:
        mean: three numbers, in units of 0..255, in the order of the output channels.
        std: three numbers, in units of 0..255, in the same order.
        bgr: whether the output channels are blue, green, red, as for networks trained in Caffe.
    """

    def __init__(
        self,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0),
        bgr: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mean, self.std, self.bgr = mean, std, bgr

    def call(self, pixels):
        pixels = ops.cast(pixels, "float32")
        if self.bgr:
            pixels = ops.flip(pixels, axis=-1)
        # float32: in bfloat16 the difference of two values near 255 loses its last bit
        pixels = (pixels - ops.array(self.mean, "float32")) / ops.array(self.std, "float32")
        return ops.cast(pixels, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
