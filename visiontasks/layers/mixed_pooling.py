"""`MixedPooling2D`: max pooling or average pooling, by chance."""

import keras
from keras import ops

from visiontasks.arguments import Chance, Checked, Count


@keras.saving.register_keras_serializable(package="visiontasks")
class MixedPooling2D(Checked, keras.layers.Layer):
    """λ max + (1 - λ) average of each window: in each training step λ is 0 or 1 for the whole layer, else its mean.

    D. Yu, H. Wang, P. Chen, Z. Wei: Mixed Pooling for Convolutional Neural Networks (2014),
    https://doi.org/10.1007/978-3-319-11740-9_34, equation 3. Windows are not padded. The paper's inference uses the
    more frequent of the two; here it is the expectation.

    Shapes: (B, H, W, C) to (B, ⌊(H - pool_size) / strides⌋ + 1, …, C).

    Args:
        pool_size: width and height of a window.
        strides: from one window to the next; by default pool_size.
        maximum: the probability of max pooling.
        seed: of the random choices; by default another one each time.
    """

    padding = "valid"

    def __init__(
        self,
        pool_size: Count = 2,
        strides: Count | None = None,
        maximum: Chance = 0.5,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.pool_size, self.strides, self.maximum = pool_size, strides or pool_size, maximum
        windows = {"pool_size": pool_size, "strides": self.strides, "dtype": self.dtype_policy}
        self.max_pool = keras.layers.MaxPooling2D(**windows, name="max")
        self.average_pool = keras.layers.AveragePooling2D(**windows, name="average")
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, features, training=None):
        largest, mean = self.max_pool(features), self.average_pool(features)
        if not training:
            return self.maximum * largest + (1 - self.maximum) * mean
        drawn = keras.random.uniform((), dtype="float32", seed=self.seed_generator)
        return ops.where(drawn < self.maximum, largest, mean)

    def compute_output_shape(self, input_shape):
        return self.max_pool.compute_output_shape(input_shape)
