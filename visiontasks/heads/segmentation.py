"""`SegmentationHead`: the base of heads that give each pixel a class."""

from typing import Annotated, Literal

import keras
from keras import ops
from pydantic import Field

from visiontasks.arguments import Classes, Positive
from visiontasks.heads.choices import choose_pixels, mean_over, of_number
from visiontasks.heads.head import Head
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.losses import softmax
from visiontasks.sample import VOID

Term = Literal["cross_entropy", "dice", "focal"]
LOSSES = {"cross_entropy": softmax.cross_entropy, "dice": softmax.dice, "focal": softmax.focal}


class SegmentationHead(Head):
    """A head that gives each pixel a class. Abstract: a subclass implements `taps`, `build` and `call`.

    It learns from `mask`, int (B, H, W), 255 = void. Its raw outputs are logits float32 (B, H, W, C) of the image's
    size. They decode to {"probabilities": float32 (B, H, W, C)}, which sum to 1 at each pixel.

    Args:
        classes: names of the classes, including background, or their number.
        loss: {term: weight} of cross_entropy, dice and focal; or the name of one term.

    Raises:
        ValueError: more than 255 classes.
    """

    task = "segmentation"
    fields = ("mask",)
    divisible = False  # each level is fitted to the next finer one
    explains = ("mask",)

    def __init__(
        self,
        classes: Classes,
        loss: Term | Annotated[dict[Term, Positive], Field(min_length=1)] = "cross_entropy",
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        if len(self.classes) > VOID:
            raise ValueError(f"classes: expected at most {VOID}, because {VOID} is void; got {len(self.classes)}.")
        self.loss = {loss: 1.0} if isinstance(loss, str) else dict(loss)

    @property
    def loss_terms(self):
        return tuple(self.loss)

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


class ConvBlock(keras.layers.Layer):
    """A convolution with padding, batch normalization (optional) and ReLU.

    Args:
        filters: number of output channels.
        batch_norm: whether to normalize; otherwise the convolution has a bias.
        kernel_size: of the convolution.
    """

    def __init__(self, filters, batch_norm, kernel_size=3, **kwargs):
        super().__init__(**kwargs)
        half = {"dtype": self.dtype_policy}
        self.conv = keras.layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            use_bias=not batch_norm,
            kernel_initializer="he_normal",
            name="conv",
            **half,
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

    def compute_output_shape(self, shape):
        return self.conv.compute_output_shape(shape)
