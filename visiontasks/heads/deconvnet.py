"""Semantic segmentation: a decoder that mirrors the encoder and unpools where the encoder's maxima were (DeconvNet)."""

import itertools

import keras
from keras import ops

from visiontasks.arguments import Channels, Classes, LayerCounts, Levels, Share
from visiontasks.heads.segmentation import ConvBlock, SegmentationHead
from visiontasks.ops import max_pooling
from visiontasks.ops.resizing import fit_to
from visiontasks.taps import levels_among


class DeconvNet(SegmentationHead):
    """Semantic segmentation: the backbone mirrored, with max-unpooling at the positions of each level's maxima.

    Noh, Hong and Han 2015 (https://arxiv.org/abs/1505.04366), section 3. On VGG, whose levels are what its poolings
    take, these are the positions of its own maxima, and the decoder has the channels of VGG in reverse. On another
    backbone they are where pooling would take the maxima of its levels. A stride that no level has is
    interpolated at the end. Learns from `mask`, int (B, H, W), 255 = void. Raw outputs are logits float32 (B, H, W, C).
    They decode to {"probabilities": float32 (B, H, W, C)}, which sum to 1 at each pixel.

    Args:
        classes: names of the classes, including background, or their number.
        levels: the backbone's levels to use; by default all (C0, C1, …).
        convs: convolutions of each step up, deepest first; by default VGG-16's, 3 down to stride 4 and 2 from there.
        bottleneck: channels of the paper's dense layers (4096) between both halves, of which the first covers the
            deepest level whole, which fixes the image size; None for none. They are not normalized: there is one value
            per image.
        batch_norm: batch normalization after each convolution.
        dropout: share of channels dropped before the last layer.
        loss: {term: weight} of cross_entropy, dice and focal; or the name of one term.

    Raises:
        ValueError: an argument is out of bounds: more than 255 classes, fewer than two levels, `convs` that do not fit
            the steps, or a bottleneck for images of any size.
    """

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        convs: LayerCounts | None = None,
        bottleneck: Channels | None = None,
        batch_norm: bool = True,
        dropout: Share = 0.0,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.levels, self.convs, self.bottleneck, self.batch_norm = levels, convs, bottleneck, batch_norm
        self.drop = keras.layers.SpatialDropout2D(dropout, dtype=self.dtype_policy, name="dropout")
        self.logits = keras.layers.Conv2D(len(self.classes), 1, dtype="float32", name="logits")

    def taps(self, available):
        levels = self.levels or (tap.name for tap in levels_among(available, self.name))
        return (*levels, "image")

    def build(self, taps):
        super().build(taps)
        deepest, *self.steps = reversed(levels_among(taps, self.name, least=2))
        self.factors = [a.stride // b.stride for a, b in itertools.pairwise((deepest, *self.steps))]
        self.dense = self._dense(deepest) if self.bottleneck else []
        counts = self.convs or tuple(3 if tap.stride >= 4 else 2 for tap in self.steps)
        if len(counts) != len(self.steps):
            raise ValueError(
                f"convs: expected {len(self.steps)}, one for each step up from {deepest.name} to "
                f"{self.steps[-1].name}; got {counts}."
            )
        self.projections, self.blocks, channels = [], [], deepest.channels
        for tap, after, count in zip(self.steps, (*self.steps[1:], self.steps[-1]), counts, strict=True):
            # positions are of channels: there must be as many
            projection = [self._conv(tap.channels, 1, f"to_{tap.name}")] if channels != tap.channels else []
            filters = [tap.channels] * (count - 1) + [after.channels]
            block = [self._conv(n, 3, f"{tap.name}_conv{i}") for i, n in enumerate(filters, start=1)]
            for layers in (projection, block):
                for layer in layers:
                    layer.build((None, *tap.size, channels))
                    channels = layer.conv.filters
            self.projections.append(projection)
            self.blocks.append(block)
        self.logits.build((None, None, None, channels))

    def _conv(self, filters, kernel_size, name):
        return ConvBlock(filters, self.batch_norm, kernel_size, name=name, dtype=self.dtype_policy)

    def _dense(self, tap):
        """The dense layers as convolutions: the whole level to one position, that to itself, and back."""
        if None in tap.size:
            raise ValueError(
                "bottleneck: its first layer covers the deepest level whole, so that images have one size. Build the "
                "backbone with that size, as input_shape=(224, 224, 3), or leave the bottleneck out."
            )
        relu = {"activation": "relu", "kernel_initializer": "he_normal", "dtype": self.dtype_policy}
        layers = [
            keras.layers.Conv2D(self.bottleneck, tap.size, name="dense1", **relu),
            keras.layers.Conv2D(self.bottleneck, 1, name="dense2", **relu),
            keras.layers.Conv2DTranspose(tap.channels, tap.size, name="dense3", **relu),
        ]
        shape = tap.shape
        for layer in layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        return layers

    def call(self, features, training=None):
        x = features[self.tapped[-1].name]
        for layer in self.dense:
            x = layer(x)
        for tap, factor, projection, block in zip(self.steps, self.factors, self.projections, self.blocks, strict=True):
            for layer in projection:
                x = layer(x, training=training)
            x = _unpooled(x, features[tap.name], factor)
            for layer in block:
                x = layer(x, training=training)
        x = self.logits(self.drop(x, training=training))
        return fit_to(x, features["image"].shape[1:3], self.steps[-1].stride)


def _unpooled(x, level, factor):
    """`x` (B, h, w, C) spread to the size of a level (B, H, W, C), each value to where the level's maximum was."""
    height, width = level.shape[1:3]
    if height is None or width is None:
        raise ValueError("the image's height and width must be known when the model is called.")
    positions = max_pooling.max_positions(level, factor)
    if all(0 <= whole - kept <= 1 for whole, kept in zip(positions.shape[1:3], x.shape[1:3], strict=True)):
        positions = positions[:, : x.shape[1], : x.shape[2]]  # a pooling that leaves out the last row of an odd size
    else:
        x = fit_to(x, positions.shape[1:3], 1)
    x = max_pooling.max_unpool(x, positions, factor)[:, :height, :width]
    missing = [[0, height - x.shape[1]], [0, width - x.shape[2]]]
    return ops.pad(x, [[0, 0], *missing, [0, 0]]) if missing != [[0, 0], [0, 0]] else x
