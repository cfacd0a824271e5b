"""What the heads that judge a whole picture share: one feature map, pooled, to a vector of logits."""

import keras

from visiontasks.heads.head import Head, class_names, levels_among

POOLINGS = {
    "avg": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "flatten": keras.layers.Flatten,
}


class PooledHead(Head):
    """A head that judges the picture as a whole: pooling, hidden layers, one float32 logit a class (B, C).

    Abstract: a subclass gives the losses and the decoding.

    Args:
        classes: names of the classes, or their number.
        hidden: units of each hidden dense layer.
        dropout: share of units dropped after each hidden layer, or before the last layer where there is none.
        pooling: avg, max, or flatten (which fixes the picture's size).
        tap: the backbone's output to judge; by default `top` where there is one, else the deepest level.
        activation: behind each hidden layer; networks before AlexNet have tanh.
        bias: where the last layer's bias starts.

    Raises:
        ValueError: no class, a class twice, an unknown pooling or activation, or a dropout that is no share.
    """

    def __init__(self, classes, hidden, dropout, pooling, tap, activation, bias=0.0, **kwargs):
        super().__init__(**kwargs)
        if pooling not in POOLINGS:
            raise ValueError(f"pooling: expected one of {', '.join(POOLINGS)}; got {pooling!r}.")
        if activation not in ("relu", "tanh"):
            raise ValueError(f"activation: expected relu or tanh; got {activation!r}.")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a share from 0 to below 1, got {dropout!r}.")
        self.classes, self.hidden, self.dropout = class_names(classes), tuple(hidden), dropout
        self.pooling, self.tap, self.activation = pooling, tap, activation
        half = {"dtype": self.dtype_policy}
        self.top = [POOLINGS[pooling](name="pool", **half)]
        for i, units in enumerate(self.hidden, start=1):
            self.top.append(keras.layers.Dense(units, activation=activation, name=f"hidden{i}", **half))
            self.top.append(keras.layers.Dropout(dropout, name=f"dropout{i}", **half))
        if not self.hidden:
            self.top.append(keras.layers.Dropout(dropout, name="dropout", **half))
        # float32 whatever the policy: logits in half precision lose accuracy and can overflow
        start = keras.initializers.Constant(bias)
        self.top.append(keras.layers.Dense(len(self.classes), dtype="float32", bias_initializer=start, name="logits"))

    def taps(self, available):
        if self.tap:
            return (self.tap,)
        levels = levels_among(available, self.name, least=0)
        return ("top",) if "top" in available or not levels else (levels[-1],)

    def build(self, features_shape):
        (shape,) = features_shape.values()
        for layer in self.top:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, features, training=None):
        (x,) = features.values()
        for layer in self.top:
            x = layer(x, training=training) if isinstance(layer, keras.layers.Dropout) else layer(x)
        return x

    def set_dense_layers(self, layers):
        """Take a checkpoint's own layers, hidden ones and the last: [(kernel (in, out), bias (out,)), …].

        Raises:
            ValueError: they are not as many, or not of the shapes, that the head has.
        """
        ours = [layer for layer in self.top if isinstance(layer, keras.layers.Dense)]
        expected = [tuple(layer.kernel.shape) for layer in ours]
        came = [kernel.shape for kernel, _ in layers]
        if expected != came:
            raise ValueError(f"classification layers: expected kernels of {expected}, got {came}.")
        for layer, (kernel, bias) in zip(ours, layers, strict=True):
            layer.set_weights([kernel, bias])

    def get_config(self):
        return {
            **super().get_config(),
            "classes": list(self.classes),
            "hidden": list(self.hidden),
            "dropout": self.dropout,
            "pooling": self.pooling,
            "tap": self.tap,
            "activation": self.activation,
        }
