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


def fit_to(x, size):
    """`x` (B, h, w, C) at exactly `size` (height, width).

    A level that was halved with rounding up is one row or column too large: it is cut. If an encoder without padding
    lost more, the map is resized bilinearly.
    """
    (height, width), (rows, columns) = tuple(x.shape[1:3]), tuple(size)
    if (height, width) == (rows, columns):
        return x
    if rows is None or columns is None:
        raise ValueError("the image's height and width must be known when the model is called.")
    if 0 <= height - rows <= 1 and 0 <= width - columns <= 1:
        return x[:, :rows, :columns]
    # float32: XLA refuses the gradient of bilinear resizing in half precision (TensorFlow 2.21)
    resized = ops.image.resize(
        ops.cast(x, "float32"), (rows, columns), interpolation="bilinear", data_format="channels_last"
    )
    return ops.cast(resized, x.dtype)


def interpolated(x, stride: int, size):
    """A level `x` (B, h, w, C) of a stride, enlarged bilinearly to the image's `size` (height, width).

    A level whose size was rounded up reaches over the border, where the result is cut.
    """
    if None in tuple(size):
        raise ValueError("the image's height and width must be known when the model is called.")
    over = [length * stride for length in x.shape[1:3]]
    if all(0 <= more - length < stride for more, length in zip(over, size, strict=True)):
        return fit_to(x, over)[:, : size[0], : size[1]]
    return fit_to(x, size)
