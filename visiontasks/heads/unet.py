"""Semantic segmentation: U-Net's expanding path on any pyramid."""

from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import ChannelCounts, Classes, Levels, Share
from visiontasks.heads.segmentation import ConvBlock, SegmentationHead
from visiontasks.ops.resizing import fit_to
from visiontasks.taps import levels_among


class _UpBlock(keras.layers.Layer):
    """One step up by a factor: double the size, fit it to the skip, concatenate both, convolve twice."""

    def __init__(self, filters, factor, upsampling, batch_norm, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        half = {"dtype": self.dtype_policy}
        if upsampling == "transposed":
            self.up = keras.layers.Conv2DTranspose(filters, 2, strides=2, name="up", **half)
        else:
            self.up = keras.layers.UpSampling2D(2, interpolation="bilinear", name="up", **half)
        self.convs = [ConvBlock(filters, batch_norm, name=f"conv{i}", **half) for i in (1, 2)]

    def build(self, shape, skip_channels, size):
        self.up.build(shape)
        channels = self.up.compute_output_shape(shape)[-1] + skip_channels
        for conv in self.convs:
            conv.build((shape[0], *size, channels))
            channels = conv.conv.filters

    def call(self, x, skip=None, size=None, training=None):
        x = fit_to(self.up(x), size, self.factor, done=2)
        if skip is not None:
            x = ops.concatenate([x, ops.cast(skip, x.dtype)], axis=-1)
        for conv in self.convs:
            x = conv(x, training=training)
        return x


class UNet(SegmentationHead):
    """Semantic segmentation: U-Net's expanding path with a skip from every level of any backbone.

    Ronneberger et al. 2015 (https://arxiv.org/abs/1505.04597), with padded convolutions, so that the output has the
    size of the image, whatever it is. Learns from `mask`, int (B, H, W), 255 = void. Raw outputs are logits float32
    (B, H, W, C). They decode to {"probabilities": float32 (B, H, W, C)}, which sum to 1 at each pixel.

    Args:
        classes: names of the classes, including background, or their number.
        filters: filters of each step up, deepest first; by default 256, 128, 64, 32, 16, 16, … . The paper's network
            has (512, 256, 128, 64).
        levels: the backbone's levels to use; by default all (C0, C1, …).
        upsampling: transposed (a learned 2×2 convolution, as in the paper) or resize (bilinear).
        batch_norm: batch normalization after each convolution (the paper, of 2015, has none).
        dropout: share of channels dropped before the last layer.
        loss: {term: weight} of cross_entropy, dice and focal; or the name of one term.
        skips: whether the steps up see the finer levels; without, what the deepest level lost is gone, which shows what
            they are for.

    Raises:
        ValueError: an argument is out of bounds: more than 255 classes, or filters that do not fit the steps.
    """

    def __init__(
        self,
        classes: Classes,
        filters: ChannelCounts | None = None,
        levels: Levels | None = None,
        upsampling: Literal["transposed", "resize"] = "transposed",
        batch_norm: bool = True,
        dropout: Share = 0.0,
        skips: bool = True,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.filters, self.levels, self.upsampling, self.batch_norm = filters, levels, upsampling, batch_norm
        self.skips = skips
        self.drop = keras.layers.SpatialDropout2D(dropout, dtype=self.dtype_policy, name="dropout")
        self.logits = keras.layers.Conv2D(len(self.classes), 1, dtype="float32", name="logits")
        self.blocks = None

    def taps(self, available):
        levels = self.levels or (tap.name for tap in levels_among(available, self.name))
        return (*levels, "image")

    def build(self, taps):
        super().build(taps)
        deepest, *self.steps = reversed(levels_among(taps, self.name, least=2))
        if self.steps[-1].stride > 1:
            self.steps.append(taps["image"])
        filters = self.filters or tuple(max(16, 256 // 2**n) for n in range(len(self.steps)))
        if len(filters) != len(self.steps):
            raise ValueError(
                f"filters: expected {len(self.steps)}, one for each step up from {deepest.name} to the image; got "
                f"{filters}."
            )
        self.blocks = []
        shape, stride = deepest.shape, deepest.stride
        for count, tap in zip(filters, self.steps, strict=True):
            factor, stride = stride // tap.stride, tap.stride
            settings = {"dtype": self.dtype_policy, "name": f"up_to_{tap.name}"}
            block = _UpBlock(count, factor, self.upsampling, self.batch_norm, **settings)
            block.build(shape, tap.channels if self._skips(tap) else 0, tap.size)
            self.blocks.append(block)
            shape = (None, *tap.size, count)
        self.logits.build(shape)

    def call(self, features, training=None):
        x = features[self.tapped[-1].name]
        for block, tap in zip(self.blocks, self.steps, strict=True):
            skip = features[tap.name] if self._skips(tap) else None
            x = block(x, skip=skip, size=features[tap.name].shape[1:3], training=training)
        x = fit_to(x, features["image"].shape[1:3], 1)  # a C0 without padding is smaller than the image
        return self.logits(self.drop(x, training=training))

    def _skips(self, tap):
        return self.skips and tap.name != "image"
