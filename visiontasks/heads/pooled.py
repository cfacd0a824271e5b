"""`PooledHead`: the base of heads for whole images: one feature map, pooled, to a vector of logits."""

from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import Channels, Classes, Share
from visiontasks.heads.choices import Choice, for_images, of_number, strongest
from visiontasks.heads.head import Head
from visiontasks.layers.spatial_pyramid_pooling import SpatialPyramidPooling2D
from visiontasks.taps import levels_among

POOLINGS = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "flatten": keras.layers.Flatten,
    "pyramid": SpatialPyramidPooling2D,
}


class PooledHead(Head):
    """A head for whole images: pooling, hidden layers, one float32 logit per class (B, C).

    Abstract: a subclass implements losses and decoding.

    Args:
        classes: names of the classes, or their number.
        hidden: units of each hidden dense layer.
        dropout: share of units dropped after each hidden layer, or before the last layer if there is none.
        pooling: avg, max, flatten (which fixes the image size), or pyramid (maxima in 4×4, 2×2 and 1×1 cells, which
            keep roughly where things are: see layers/spatial_pyramid_pooling.py).
        tap: the backbone's output to classify; by default `top` if it exists, otherwise the deepest level.
        activation: after each hidden layer; networks before AlexNet use tanh.
    """

    explains = ("class",)

    def __init__(
        self,
        classes: Classes,
        hidden: tuple[Channels, ...] = (),
        dropout: Share = 0.0,
        pooling: Literal["avg", "max", "flatten", "pyramid"] = "avg",
        tap: str | None = None,
        activation: Literal["relu", "tanh"] = "relu",
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.hidden, self.pooling, self.tap, self.activation = hidden, pooling, tap, activation
        half = {"dtype": self.dtype_policy}
        self.top = [POOLINGS[pooling](name="pool", **half)]
        for i, units in enumerate(hidden, start=1):
            self.top.append(keras.layers.Dense(units, activation=activation, name=f"hidden{i}", **half))
            self.top.append(keras.layers.Dropout(dropout, name=f"dropout{i}", **half))
        if not hidden:
            self.top.append(keras.layers.Dropout(dropout, name="dropout", **half))
        # float32 whatever the policy: logits in half precision lose accuracy and can overflow
        start = keras.initializers.Constant(self.bias_start)
        self.top.append(keras.layers.Dense(len(self.classes), dtype="float32", bias_initializer=start, name="logits"))

    @property
    def bias_start(self) -> float:
        """The initial bias of the last layer."""
        return 0.0

    def taps(self, available):
        return (pooled_tap(self.tap, available, self.name),)

    def build(self, taps):
        super().build(taps)
        (shape,) = (tap.shape for tap in taps.values())
        for layer in self.top:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, features, training=None):
        (x,) = features.values()
        for layer in self.top:
            x = layer(x, training=training) if isinstance(layer, keras.layers.Dropout) else layer(x)
        return x

    def choose(self, outputs, kind, number=None, box=None):
        if box is not None:
            raise ValueError(f"box: {self.name} predicts for the whole image, so it has none; leave it out.")
        return Choice(kind, for_images(strongest(outputs) if number is None else number, ops.shape(outputs)[0]))

    def score(self, outputs, choice):
        return of_number(outputs, choice.number)

    def set_dense_layers(self, layers):
        """Set the dense layers, hidden and last, to a checkpoint's: [(kernel (in, out), bias (out,)), …].

        Raises:
            ValueError: the number or the shapes of the layers differ from the head's.
        """
        ours = [layer for layer in self.top if isinstance(layer, keras.layers.Dense)]
        expected = [tuple(layer.kernel.shape) for layer in ours]
        came = [kernel.shape for kernel, _ in layers]
        if expected != came:
            raise ValueError(f"classification layers: expected kernels of {expected}, got {came}.")
        for layer, (kernel, bias) in zip(ours, layers, strict=True):
            layer.set_weights([kernel, bias])


def pooled_tap(tap: str | None, available, name: str) -> str:
    """The output of a backbone that is pooled: the one given, otherwise `top` if it exists, or the deepest level."""
    levels = () if tap else levels_among(available, name, least=0)
    return tap or ("top" if "top" in available or not levels else levels[-1].name)
