"""`Bilinear`: the weights with which a transposed convolution interpolates, to start from."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="visiontasks")
class Bilinear(keras.initializers.Initializer):
    """Bilinear interpolation by a factor f of each channel by itself, for a Conv2DTranspose with stride f.

    J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation (2015),
    https://arxiv.org/abs/1411.4038, section 3.3. With padding same and no bias. At the borders it fades to 0.

    Shapes: a kernel (k, k, out, in), k = 2f, or 2f - 1 if f is odd, so that nothing is shifted. Where out and in
    differ, the channels that both have are interpolated.
    """

    def __call__(self, shape, dtype=None):
        size, _, outputs, inputs = shape
        # 1 at the center, 0 where the next value is
        line = 1 - ops.abs(ops.arange(size, dtype="float32") - (size - 1) / 2) / ((size + 1) // 2)
        kernel = ops.reshape(line[:, None] * line[None, :], (size, size, 1, 1)) * ops.eye(outputs, inputs)
        return ops.cast(kernel, dtype or keras.config.floatx())

    def get_config(self):
        return {}
