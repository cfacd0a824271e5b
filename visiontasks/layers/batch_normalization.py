"""`BatchNormalization`: Keras's layer, computed in one operation where the backend has one."""

import keras
from keras import ops

from visiontasks.ops.batch_normalization import can_fuse, fused, shifted


@keras.saving.register_keras_serializable(package="visiontasks")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization, faster on TensorFlow: arguments, weights and results are Keras's.

    Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167. Weights files of the two layers are interchangeable.
    Keras's own code runs where the operation cannot: on other backends, under XLA, and for features that are not
    (B, H, W, C), masks, renormalization, and statistics synchronized over replicas. It also runs at prediction, where
    there are no moments to compute.
    """

    _only_shifts = False

    def only_shift(self, shift):
        """Make the layer add `shift`, (C,), and nothing else: the convolution before it has the rest in its kernel."""
        for variable, value in ((self.gamma, 1.0), (self.beta, 0.0)):
            if variable is not None:
                variable.assign(ops.full(variable.shape, value))
        self.moving_mean.assign(-shift)
        self.moving_variance.assign(ops.full(self.moving_variance.shape, 1.0 - self.epsilon))
        self._only_shifts = True

    def call(self, inputs, training=None, mask=None):
        if self._only_shifts:
            return shifted(ops.cast(inputs, self.compute_dtype), -self.moving_mean)
        x = ops.cast(inputs, self.compute_dtype)
        usual = mask is None and not (self.renorm or self.synchronized) and self.axis in (-1, len(x.shape) - 1)
        if not (training and usual and can_fuse(x)):
            return super().call(inputs, training=training, mask=mask)
        scale = ops.ones(x.shape[-1], "float32") if self.gamma is None else ops.cast(self.gamma, "float32")
        offset = ops.zeros(x.shape[-1], "float32") if self.beta is None else ops.cast(self.beta, "float32")
        if not self.trainable:
            mean, variance = ops.cast(self.moving_mean, "float32"), ops.cast(self.moving_variance, "float32")
            return fused(x, scale, offset, self.epsilon, mean, variance)[0]
        outputs, *moments = fused(x, scale, offset, self.epsilon)
        for average, value in zip((self.moving_mean, self.moving_variance), moments, strict=True):
            average.assign(ops.cast(average, "float32") * self.momentum + value * (1.0 - self.momentum))
        return outputs


def fuse(model: keras.Model) -> keras.Model:
    """Turn every batch normalization of a model into this file's, in place: one of keras.applications, or of a file.

    The layers keep their place in the graph, their variables and their names; a clone would have none of them, and a
    subclassed model cannot be cloned. Subclasses of Keras's layer are left as they are.

    Returns:
        The same model.
    """
    for layer in model._flatten_layers():  # private: Keras has no public walk over nested layers
        if type(layer) is keras.layers.BatchNormalization:
            layer.__class__ = BatchNormalization
    return model
