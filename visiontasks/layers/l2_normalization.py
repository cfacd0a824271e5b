"""`L2Normalization`: every position's features brought to one length, and a learnt scale for each channel."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Positive


@keras.saving.register_keras_serializable(package="visiontasks")
class L2Normalization(Checked, keras.layers.Layer):
    """x / ‖x‖ along the channels, times a scale a channel; in float32.

    Brings an early layer's large features down to the size of later ones': W. Liu, A. Rabinovich, A. Berg: ParseNet
    (2015), https://arxiv.org/abs/1506.04579, section 3.3. SSD starts the scale at 20.

    Shapes: (..., C) to the same.

    Args:
        scale: where the scales start.
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
