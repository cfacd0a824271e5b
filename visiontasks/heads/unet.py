"""Semantic segmentation: U-Net's expanding path on any pyramid."""

from typing import Annotated, Literal

import keras
from keras import ops
from pydantic import Field

from visiontasks.arguments import Classes, Counts, Levels, Positive, Share
from visiontasks.heads.choices import choose_pixels, mean_over, of_number
from visiontasks.heads.head import Head
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.losses import softmax
from visiontasks.sample import VOID
from visiontasks.taps import levels_among

Term = Literal["cross_entropy", "dice", "focal"]
LOSSES = {"cross_entropy": softmax.cross_entropy, "dice": softmax.dice, "focal": softmax.focal}


class _Conv(keras.layers.Layer):
    """A 3×3 convolution, batch normalization (optional) and ReLU."""

    def __init__(self, filters, batch_norm, **kwargs):
        super().__init__(**kwargs)
        half = {"dtype": self.dtype_policy}
        self.conv = keras.layers.Conv2D(
            filters, 3, padding="same", use_bias=not batch_norm, kernel_initializer="he_normal", name="conv", **half
        )
        # Keras's default momentum, 0.99, needs hundreds of updates before inference works; small data sets have fewer
        self.norm = BatchNormalization(momentum=0.9, name="norm", **half) if batch_norm else None

    @property
    def convolutions_with_norms(self):
        return [(self.conv, self.norm)] if self.norm else []

    def build(self, shape):
        self.conv.build(shape)
        if self.norm:
            self.norm.build(self.conv.compute_output_shape(shape))

    def call(self, x, training=None):
        x = self.conv(x)
        return ops.relu(self.norm(x, training=training) if self.norm else x)


class _UpBlock(keras.layers.Layer):
    """One step up: double the size, fit it to the skip, concatenate both, convolve twice."""

    def __init__(self, filters, upsampling, batch_norm, **kwargs):
        super().__init__(**kwargs)
        half = {"dtype": self.dtype_policy}
        if upsampling == "transposed":
            self.up = keras.layers.Conv2DTranspose(filters, 2, strides=2, name="up", **half)
        else:
            self.up = keras.layers.UpSampling2D(2, interpolation="bilinear", name="up", **half)
        self.convs = [_Conv(filters, batch_norm, name=f"conv{i}", **half) for i in (1, 2)]

    def build(self, shape, skip_channels, size):
        self.up.build(shape)
        channels = self.up.compute_output_shape(shape)[-1] + skip_channels
        for conv in self.convs:
            conv.build((shape[0], *size, channels))
            channels = conv.conv.filters

    def call(self, x, skip=None, size=None, training=None):
        x = fit_to(self.up(x), size)
        if skip is not None:
            x = ops.concatenate([x, ops.cast(skip, x.dtype)], axis=-1)
        for conv in self.convs:
            x = conv(x, training=training)
        return x


def fit_to(x, size):
    """`x` (B, h, w, C) at exactly `size` (height, width).

    A level that was halved with rounding up is one row or column too large: it is cut. If an encoder without padding
    lost more, the map is resized bilinearly.
    """
    (height, width), (rows, columns) = tuple(x.shape[1:3]), tuple(size)
    if (height, width) == (rows, columns):
        return x
    if rows is None or columns is None:
        raise ValueError("unet: the image's height and width must be known when the model is called.")
    if 0 <= height - rows <= 1 and 0 <= width - columns <= 1:
        return x[:, :rows, :columns]
    # float32: XLA refuses the gradient of bilinear resizing in half precision (TensorFlow 2.21)
    resized = ops.image.resize(
        ops.cast(x, "float32"), (rows, columns), interpolation="bilinear", data_format="channels_last"
    )
    return ops.cast(resized, x.dtype)


class UNet(Head):
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

    Raises:
        ValueError: an argument is out of bounds: more than 255 classes, or filters that do not fit the steps.
    """

    task = "segmentation"
    fields = ("mask",)
    divisible = False  # each step up is fitted to its skip
    explains = ("mask",)

    def __init__(
        self,
        classes: Classes,
        filters: Counts | None = None,
        levels: Levels | None = None,
        upsampling: Literal["transposed", "resize"] = "transposed",
        batch_norm: bool = True,
        dropout: Share = 0.0,
        loss: Term | Annotated[dict[Term, Positive], Field(min_length=1)] = "cross_entropy",
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        if len(self.classes) > VOID:
            raise ValueError(f"classes: expected at most {VOID}, because {VOID} is void; got {len(self.classes)}.")
        self.loss = {loss: 1.0} if isinstance(loss, str) else dict(loss)
        self.filters, self.levels, self.upsampling, self.batch_norm = filters, levels, upsampling, batch_norm
        self.drop = keras.layers.SpatialDropout2D(dropout, dtype=self.dtype_policy, name="dropout")
        self.logits = keras.layers.Conv2D(len(self.classes), 1, dtype="float32", name="logits")
        self.blocks = None

    @property
    def loss_terms(self):
        return tuple(self.loss)

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
        shape = deepest.shape
        for count, tap in zip(filters, self.steps, strict=True):
            block = _UpBlock(count, self.upsampling, self.batch_norm, dtype=self.dtype_policy, name=f"up_to_{tap.name}")
            block.build(shape, 0 if tap.name == "image" else tap.channels, tap.size)
            self.blocks.append(block)
            shape = (None, *tap.size, count)
        self.logits.build(shape)

    def call(self, features, training=None):
        x = features[self.tapped[-1].name]
        for block, tap in zip(self.blocks, self.steps, strict=True):
            skip = None if tap.name == "image" else features[tap.name]
            x = block(x, skip=skip, size=features[tap.name].shape[1:3], training=training)
        x = fit_to(x, features["image"].shape[1:3])  # a C0 without padding is smaller than the image
        return self.logits(self.drop(x, training=training))

    def compute_losses(self, targets, outputs, training=True):
        mask = ops.cast(targets["mask"], "int32")
        labeled = mask != VOID
        terms = {term: LOSSES[term](mask, outputs, labeled) for term in self.loss}
        return {name: term._replace(total=self.loss[name] * term.total) for name, term in terms.items()}

    def decode(self, outputs):
        return {"probabilities": ops.softmax(ops.cast(outputs, "float32"), axis=-1)}

    def choose(self, outputs, kind, number=None, box=None):
        return choose_pixels(outputs, kind, number, box)

    def score(self, outputs, choice):
        return mean_over(of_number(outputs, choice.number), choice.cells)
