"""Semantic segmentation: class scores of several levels, added up while they are enlarged (FCN)."""

import itertools
from typing import Literal

import keras

from visiontasks.arguments import Channels, Classes, Levels, Share
from visiontasks.heads.segmentation import ConvBlock, SegmentationHead
from visiontasks.layers.bilinear import Bilinear
from visiontasks.ops.resizing import fit_to
from visiontasks.taps import levels_among


class FCN(SegmentationHead):
    """Semantic segmentation: FCN-32s, FCN-16s or FCN-8s on any backbone.

    Long, Shelhamer and Darrell 2015 (https://arxiv.org/abs/1411.4038), section 4.2: a 1×1 convolution scores the
    deepest level; the scores are enlarged by a learned convolution that begins as bilinear interpolation, and the
    scores of the next finer level are added; what comes out is interpolated to the image. Learns from `mask`, int
    (B, H, W), 255 = void. Raw outputs are logits float32 (B, H, W, C). They decode to {"probabilities": float32
    (B, H, W, C)}, which sum to 1 at each pixel.

    Args:
        classes: names of the classes, including background, or their number.
        variant: the finest stride of which scores are added: 32s takes the deepest level alone, 8s those of stride 8
            and more. A backbone that ends before has its deepest level scored.
        levels: the backbone's levels to use, instead of those of `variant`.
        hidden: channels of convolutions on the deepest level, the first 7×7, the others 1×1; the paper's VGG-16 has
            (4096, 4096), its dense layers.
        dropout: share of values dropped after each hidden convolution, or before the last scores if there is none.
        loss: {term: weight} of cross_entropy, dice and focal; or the name of one term.

    Raises:
        ValueError: an argument is out of bounds: more than 255 classes, or no levels.
    """

    def __init__(
        self,
        classes: Classes,
        variant: Literal["8s", "16s", "32s"] = "8s",
        levels: Levels | None = None,
        hidden: tuple[Channels, ...] = (),
        dropout: Share = 0.0,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.variant, self.levels, self.hidden = variant, levels, hidden
        half = {"dtype": self.dtype_policy}
        self.top = []
        for i, filters in enumerate(hidden, start=1):
            self.top.append(ConvBlock(filters, False, 7 if i == 1 else 1, name=f"hidden{i}", **half))
            self.top.append(keras.layers.Dropout(dropout, name=f"dropout{i}", **half))
        if not hidden:
            self.top.append(keras.layers.Dropout(dropout, name="dropout", **half))

    def taps(self, available):
        if self.levels:
            return (*self.levels, "image")
        known = levels_among(available, self.name)
        finest = min(int(self.variant.removesuffix("s")), known[-1].stride)
        return (*(tap.name for tap in known if tap.stride >= finest), "image")

    def build(self, taps):
        super().build(taps)
        *finer, deepest = levels_among(taps, self.name)
        shape = deepest.shape
        for layer in self.top:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        # float32 whatever the policy: all that follows is sums of logits
        whole, classes = {"dtype": "float32"}, len(self.classes)
        self.scores = {}
        for tap in self.tapped:
            # the paper's: what finer levels add begins at 0
            start = "glorot_uniform" if tap is deepest else "zeros"
            self.scores[tap.name] = keras.layers.Conv2D(
                classes, 1, kernel_initializer=start, name=f"scores_{tap.name}", **whole
            )
            self.scores[tap.name].build(shape if tap is deepest else tap.shape)
        self.ups = []
        for coarse, fine in itertools.pairwise((deepest, *reversed(finer))):
            factor = coarse.stride // fine.stride
            up = keras.layers.Conv2DTranspose(
                classes,
                2 * factor - factor % 2,
                factor,
                padding="same",
                use_bias=False,
                kernel_initializer=Bilinear(),
                name=f"up_to_{fine.name}",
                **whole,
            )
            up.build((*coarse.shape[:3], classes))
            self.ups.append((up, fine.name))

    def call(self, features, training=None):
        deepest = self.tapped[-1].name
        x = features[deepest]
        for layer in self.top:
            x = layer(x, training=training)
        x = self.scores[deepest](x)
        for up, name in self.ups:
            (factor, _) = up.strides
            x = fit_to(up(x), features[name].shape[1:3], factor, done=factor) + self.scores[name](features[name])
        return fit_to(x, features["image"].shape[1:3], self.tapped[0].stride)
