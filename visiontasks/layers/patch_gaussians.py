"""`PatchGaussians`: a Gaussian of the features at each position, and the distance to it (PaDiM)."""

from collections.abc import Iterable

import keras
from keras import ops


class PatchGaussians(keras.layers.Layer):
    """Mahalanobis distances to the Gaussian of each position; in float32 under every policy.

    T. Defard, A. Setkov, A. Loesch, R. Audigier: PaDiM (2020), https://arxiv.org/abs/2011.08785, section III and
    equations 1 and 2. Instead of the inverse covariance it holds the inverse of its Cholesky factor, whose product with
    a difference is as long as the distance. Before `fit` all means are 0 and all covariances 1.

    Shapes: float32 (B, h, w, d) to float32 (B, h, w).

    Args:
        regularization: added to the diagonal of each covariance, ε of equation 1.
    """

    def __init__(self, regularization: float, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.regularization = regularization

    def build(self, input_shape):
        *position, size = input_shape[1:]

        def identity(shape, dtype=None):
            return ops.zeros(shape, dtype) + ops.eye(size, dtype=dtype)  # not a view: PyTorch assigns in place

        self.mean = self.add_weight(
            shape=(*position, size), initializer="zeros", trainable=False, autocast=False, name="mean"
        )
        self.whitening = self.add_weight(
            shape=(*position, size, size), initializer=identity, trainable=False, autocast=False, name="whitening"
        )

    def call(self, x):
        whitened = ops.einsum("bhwc,hwdc->bhwd", x - self.mean, self.whitening)
        return ops.sqrt(ops.sum(ops.square(whitened), axis=-1))

    def compute_output_shape(self, input_shape):
        return input_shape[:-1]

    def fit(self, batches: Iterable):
        """Mean and covariance of features, float32 (N, h, w, d) for any N each, in one pass.

        Batches are merged by their means and scatter matrices (T. Chan, G. Golub, R. LeVeque 1983, equation 2.1), which
        loses no digits in float32, as sums of squares would.

        Raises:
            ValueError: there are fewer than 2 images.
        """
        count, mean, scatter = 0, ops.zeros(self.mean.shape), ops.zeros(self.whitening.shape)
        for x in batches:
            if not (n := x.shape[0]):
                continue
            x = ops.convert_to_tensor(x)
            own = ops.mean(x, axis=0)
            centered, shift = x - own, own - mean
            scatter = scatter + ops.einsum("nhwc,nhwd->hwcd", centered, centered)
            scatter = scatter + ops.einsum("hwc,hwd->hwcd", shift, shift) * (count * n / (count + n))
            mean, count = mean + shift * (n / (count + n)), count + n
        if count < 2:
            raise ValueError(f"expected 2 or more normal images to fit a covariance, got {count}.")
        size = scatter.shape[-1]
        covariance = ops.reshape(scatter / (count - 1), (-1, size, size)) + self.regularization * ops.eye(size)
        identity = ops.broadcast_to(ops.eye(size), covariance.shape)
        whitening = ops.solve_triangular(ops.cholesky(covariance), identity, lower=True)
        self.mean.assign(mean)
        self.whitening.assign(ops.reshape(whitening, self.whitening.shape))
