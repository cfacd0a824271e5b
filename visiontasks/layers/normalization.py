"""`normalization`: the normalization layers that a backbone offers."""

from typing import Literal

import keras

from visiontasks.layers.batch_normalization import BatchNormalization

Norm = Literal["batch", "group", "layer", "instance", "frozen_batch"]


def normalization(
    kind: str, name: str, channels: int, epsilon: float = 1e-5, momentum: float = 0.9
) -> keras.layers.Layer:
    """A layer that normalizes feature maps (B, H, W, C), then scales and shifts each channel.

    Args:
        kind: "batch": over the batch and all positions (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167);
            "frozen_batch": the same, but training changes neither statistics nor scale and shift, for batches of few
            large images; "group": over positions and 32 groups of channels, "layer": one group, "instance": one group
            per channel (Wu and He 2018, https://arxiv.org/abs/1803.08494, figure 2): these need no batch.
        name: the layer's name.
        channels: C; group norm uses the largest number of groups up to 32 that divides it.
        epsilon: added to the variance.
        momentum: of the moving statistics; PyTorch's momentum is 1 minus this one.

    Raises:
        ValueError: an unknown kind.
    """
    if kind in ("batch", "frozen_batch"):
        layer = BatchNormalization if kind == "batch" else FrozenBatchNormalization
        return layer(momentum=momentum, epsilon=epsilon, name=name)
    groups = {
        "group": next(n for n in range(min(32, channels), 0, -1) if channels % n == 0),
        "layer": 1,
        "instance": channels,
    }
    if kind not in groups:
        raise ValueError(f"norm: expected batch, frozen_batch, {', '.join(groups)}; got {kind!r}.")
    return keras.layers.GroupNormalization(groups[kind], epsilon=epsilon, name=name)


@keras.saving.register_keras_serializable(package="visiontasks")
class FrozenBatchNormalization(BatchNormalization):
    """Batch normalization that always uses its moving statistics and never trains, even in a trainable model."""

    def build(self, input_shape):
        super().build(input_shape)
        for variable in self.weights:
            variable.trainable = False

    @property
    def trainable(self):
        return False

    @trainable.setter
    def trainable(self, value):
        """Ignored: unfreezing a backbone affects its other layers only."""
