"""`SpatialPyramidPooling2D`: a map of any size to a vector of one length that keeps roughly where things are."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Counts


@keras.saving.register_keras_serializable(package="visiontasks")
class SpatialPyramidPooling2D(Checked, keras.layers.Layer):
    """The maxima of each channel in grids of n×n cells, one grid after another.

    K. He, X. Zhang, S. Ren, J. Sun: Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition
    (2014), https://arxiv.org/abs/1406.4729, section 2.2. Of a map of height H, row i of n reaches from ⌊i H / n⌋ to
    ⌈(i + 1) H / n⌉, so that cells overlap where n does not divide H.

    Shapes: (B, H, W, C) to (B, C Σ n²), grid by grid, row by row. Height and width must be known when the layer is
    called.

    Args:
        bins: the n of each grid.
    """

    def __init__(self, bins: Counts = (4, 2, 1), **kwargs):
        super().__init__(**kwargs)
        self.bins = bins

    def call(self, features):
        height, width = features.shape[1:3]
        if height is None or width is None:
            raise ValueError("the image's height and width must be known when the model is called.")
        # Keras's AdaptiveMaxPooling2D ends the process on TensorFlow (3.15, 2.21) where a grid is one cell
        cells = []
        for n in self.bins:
            for top, bottom in _bounds(height, n):
                row = ops.max(features[:, top:bottom], axis=1)
                cells += [ops.max(row[:, left:right], axis=1) for left, right in _bounds(width, n)]
        return ops.concatenate(cells, axis=-1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1] * sum(n * n for n in self.bins))


def _bounds(length, n):
    """(first, behind the last) of each of n parts of a length."""
    return [(i * length // n, -(-(i + 1) * length // n)) for i in range(n)]
