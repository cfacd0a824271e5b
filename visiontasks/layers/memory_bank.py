"""`MemoryBank`: features of normal patches, and the distance to the nearest of them (PatchCore)."""

from collections.abc import Iterable

import keras
from keras import ops

from visiontasks.ops.coreset import greedy_coreset

CANDIDATES = 100_000  # patches that the bank is chosen from, a uniform sample of all; more take minutes


class MemoryBank(keras.layers.Layer):
    """Distances to the nearest of the features it holds; in float32 under every policy.

    K. Roth, L. Pemula, J. Zepeda, B. Schölkopf, T. Brox, P. Gehler: PatchCore (2021), https://arxiv.org/abs/2106.08265,
    sections 3.2 and 3.3. Before `fit` all features are 0.

    Shapes: float32 (B, h, w, d) to float32 (B, h, w).

    Args:
        count: features that it holds.
        neighbors: those around the nearest one that the weight looks at, b of equation 7.
        components: dimensions of the random projection in which the coreset is chosen.
        seed: of the projection and of the sample.
    """

    def __init__(self, count: int, neighbors: int, components: int, seed: int, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.count, self.neighbors, self.components, self.seed = count, neighbors, components, seed

    def build(self, input_shape):
        shape = (self.count, input_shape[-1])
        self.features = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, autocast=False, name="features"
        )

    def call(self, x):
        return _length(x - self._nearest(x))

    def compute_output_shape(self, input_shape):
        return input_shape[:-1]

    def _nearest(self, x):
        """Of features (…, d) the nearest that it holds, (…, d)."""
        bank = ops.convert_to_tensor(self.features)
        # |x - y|² without |x|², which is the same for all y; the distance itself is computed without cancellation
        order = ops.sum(ops.square(bank), axis=-1) - 2 * ops.matmul(x, ops.transpose(bank))
        return ops.take(bank, ops.argmin(order, axis=-1), axis=0)

    def weight(self, x, distances):
        """Equation 7's factor of each image's largest distance, float32 (B,), from `call`'s input and output.

        It is small where the nearest feature of the most anomalous patch lies among others that are as near.
        """
        height, width, size = x.shape[1:]
        flat = ops.reshape(distances, (-1, height * width))
        worst = ops.argmax(flat, axis=1)[:, None, None]
        patch = ops.take_along_axis(ops.reshape(x, (-1, height * width, size)), worst, axis=1)
        bank = ops.convert_to_tensor(self.features)
        _, around = ops.top_k(-_length(bank - self._nearest(patch)), min(self.neighbors, self.count))
        lengths = _length(ops.take(bank, around, axis=0) - patch)
        return 1 - ops.exp(ops.max(flat, axis=1) - ops.logsumexp(lengths, axis=1))

    def fit(self, batches: Iterable):
        """Hold a coreset of the patches of features, float32 (N, h, w, d) for any N each, in one pass.

        If there are fewer patches than it holds, they are repeated.

        Raises:
            ValueError: there is no image.
        """
        size = self.features.shape[-1]
        pool, keys = ops.zeros((0, size)), ops.zeros((0,))
        for number, x in enumerate(batches):
            pool = ops.concatenate([pool, ops.reshape(x, (-1, size))])
            drawn = keras.random.uniform((pool.shape[0] - keys.shape[0],), seed=self.seed + number)
            keys = ops.concatenate([keys, drawn])
            if pool.shape[0] > CANDIDATES:  # the patches with the largest of equally distributed keys: a uniform sample
                keys, kept = ops.top_k(keys, CANDIDATES)
                pool = ops.take(pool, kept, axis=0)
        if not pool.shape[0]:
            raise ValueError("expected a normal image to remember, got none.")
        projected = pool
        if self.components < size:
            projected = ops.matmul(pool, keras.random.normal((size, self.components), seed=self.seed))
        chosen = greedy_coreset(projected, self.count)
        self.features.assign(ops.take(pool, ops.take(chosen, ops.arange(self.count) % chosen.shape[0]), axis=0))


def _length(x):
    return ops.sqrt(ops.sum(ops.square(x), axis=-1))
