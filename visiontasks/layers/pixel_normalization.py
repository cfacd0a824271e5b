"""`PixelNormalization`: scales stored pixels to the range that the weights were trained with."""

import keras
from keras import ops

# mean and standard deviation of ImageNet's training images, as used for torchvision's weights
IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


@keras.saving.register_keras_serializable(package="visiontasks")
class PixelNormalization(keras.layers.Layer):
    """(pixels - mean) / std for each channel, computed in float32 whatever the precision.

    Shapes: uint8 or float (..., 3), RGB 0..255, to the layer's compute dtype (..., 3).

    Args:
        mean: three numbers, in units of 0..255, in the order of the output channels.
        std: three numbers, in units of 0..255, in the same order.
        bgr: whether the output channels are blue, green, red, as for networks trained in Caffe.
    """

    def __init__(self, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), bgr: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.mean = tuple(map(float, mean))
        self.std = tuple(map(float, std))
        self.bgr = bool(bgr)
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean, std: expected three numbers each, std > 0; got {mean!r} and {std!r}.")

    def call(self, pixels):
        pixels = ops.cast(pixels, "float32")
        if self.bgr:
            pixels = ops.flip(pixels, axis=-1)
        # float32: in bfloat16 the difference of two values near 255 loses its last bit
        pixels = (pixels - ops.array(self.mean, "float32")) / ops.array(self.std, "float32")
        return ops.cast(pixels, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mean": list(self.mean), "std": list(self.std), "bgr": self.bgr}
