"""`L2Normalization`: scales the features of each position to unit length, then by a learned factor per channel."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Positive


@keras.saving.register_keras_serializable(package="visiontasks")
class L2Normalization(Checked, keras.layers.Layer):
    """x / ‖x‖ along the channels, times one scale per channel; in float32.

    It reduces the large features of an early layer to the magnitude of later ones: W. Liu, A. Rabinovich, A. Berg:
    ParseNet (2015), https://arxiv.org/abs/1506.04579, section 3.3. SSD's initial scale is 20.

    Shapes: (..., C) to the same.

    Args:
        scale: the initial value of all scales.
    """

    def __init__(self, scale: Positive = 20.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, input_shape):
        start = keras.initializers.Constant(self.scale)
        self.scales = self.add_weight(shape=(input_shape[-1],), initializer=start, name="scale")

    def call(self, features):
        x = ops.cast(features, "float32")
        return ops.cast(ops.normalize(x, axis=-1) * ops.cast(self.scales, "float32"), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
