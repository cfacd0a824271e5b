"""The pixels that one position of a feature map sees: exact, borders included."""

from typing import NamedTuple

import keras

from visiontasks.backbones.backbone import Graph
from visiontasks.errors import UserError
from visiontasks.layers.dilated_max_pooling import DilatedMaxPooling2D
from visiontasks.layers.l2_normalization import L2Normalization
from visiontasks.layers.l2_pooling import L2Pooling2D
from visiontasks.layers.local_response_normalization import LocalResponseNormalization
from visiontasks.layers.max_unpooling import MaxPoolingWithPositions2D
from visiontasks.layers.mixed_pooling import MixedPooling2D
from visiontasks.layers.pixel_normalization import PixelNormalization
from visiontasks.layers.separated_convolutions import FlattenedConv2D, SpatiallySeparableConv2D
from visiontasks.layers.spatial_pyramid_pooling import SpatialPyramidPooling2D

# what normalizes over all positions, or gates with their mean, sees the whole image
_EVERYWHERE = (
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.AdaptiveAveragePooling2D,
    keras.layers.GroupNormalization,
    keras.layers.Flatten,
    SpatialPyramidPooling2D,
)
_WINDOWS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    DilatedMaxPooling2D,
    FlattenedConv2D,
    L2Pooling2D,
    MaxPoolingWithPositions2D,
    MixedPooling2D,
    SpatiallySeparableConv2D,
)
# whose value at a position is of the inputs at that position, if `axis`, where there is one, is that of the channels
_POINTWISE = (
    keras.layers.InputLayer,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.Rescaling,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.Add,
    keras.layers.Subtract,
    keras.layers.Multiply,
    keras.layers.Average,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Concatenate,
    L2Normalization,
    LocalResponseNormalization,
    PixelNormalization,
)
# the same of `keras.ops`, whose classes have no public names; and a layer of ConvNeXt's
_POINTWISE_NAMES = {"Abs", "Absolute", "Add", "Cast", "Clip", "Concatenate", "Divide", "Elu", "Exp", "Gelu"}
_POINTWISE_NAMES |= {"HardSigmoid", "HardSilu", "LayerScale", "LeakyRelu", "Log", "Maximum", "Minimum", "Multiply"}
_POINTWISE_NAMES |= {"Negative", "Power", "RGBToGrayscale", "Relu", "Relu6", "Selu", "Sigmoid", "Silu", "Softmax"}
_POINTWISE_NAMES |= {"Softplus", "Split", "Sqrt", "Square", "Subtract", "Tanh", "TrueDivide"}


class Field(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, ends excluded; it may exceed the image."""

    top: int
    left: int
    bottom: int
    right: int

    def within(self, size: tuple[int, int]) -> "Field":
        """The part of it that lies in an image of (height, width)."""
        return Field(max(0, self.top), max(0, self.left), min(size[0], self.bottom), min(size[1], self.right))

    def cut(self, image):
        """That part of an image (H, W, …)."""
        top, left, bottom, right = self.within(image.shape[:2])
        return image[top:bottom, left:right]


class ReceptiveFields:
    """The receptive fields of the positions of one tap of a backbone, for images of one size.

    Positions are followed back from the tap to the image through every layer, each with its own window, stride and
    padding, so the fields have the right size, stride and offset.

    Args:
        backbone: a functional keras.Model from images.
        tap: the name of one of its outputs.
        size: (height, width) of the images.

    Raises:
        UserError: the backbone has no such tap, or a layer whose window is not known or is the whole image.

    Attributes:
        stride: pixels from one position to the next.
        cells: (height, width) of the tap.
    """

    def __init__(self, backbone: keras.Model, tap: str, size: tuple[int, int]):
        if tap not in backbone.output:
            raise UserError(f"expected one of {', '.join(backbone.output)}; got {tap!r}.", "tap")
        self.size, self._input, self._output = tuple(size), backbone.input, backbone.output[tap]
        graph = Graph(backbone.input, self._output)
        self.stride, self._nodes = graph.stride(self._output), graph.nodes
        if self.stride is None:
            raise UserError(f"expected a level with positions; {tap} has none.", "tap")
        self._sizes = {id(backbone.input): self.size}
        for node in self._nodes:
            if node.input_tensors:
                before = self._sizes[id(node.input_tensors[0])]
                if any(self._sizes[id(tensor)] != before for tensor in node.input_tensors):
                    raise UserError(
                        f"{node.operation.name} combines maps of several sizes, so there are no exact receptive "
                        "fields; choose another level or backbone.",
                        "tap",
                    )
                after = tuple(_after(node.operation, length, axis) for axis, length in enumerate(before))
                self._sizes |= {id(tensor): after for tensor in node.outputs}
        self.cells = self._sizes[id(self._output)]

    def field(self, row: int, column: int) -> Field:
        """What the position in this row and column of the tap sees."""
        (top, bottom), (left, right) = (self._along(axis, place) for axis, place in enumerate((row, column)))
        return Field(top, left, bottom, right)

    def alone(self, row: int, column: int) -> tuple[Field, tuple[int, int]]:
        """The least part of the image that gives the same value at a position if the network sees nothing else.

        It is the field, extended to the network's grid, which is every `stride` pixels: from there the strides of all
        layers fall on the same pixels as in the image. Where a layer with a stride has "same" padding, the size of the
        images must be a multiple of `stride`.

        Returns:
            (the part, within the image; the row and column of the position on its tap).
        """
        top, left, bottom, right = self.field(row, column).within(self.size)
        top, left = top // self.stride * self.stride, left // self.stride * self.stride
        bottom, right = (
            min(length, -(-end // self.stride) * self.stride)
            for end, length in zip((bottom, right), self.size, strict=True)
        )
        return Field(top, left, bottom, right), (row - top // self.stride, column - left // self.stride)

    def _along(self, axis, place):
        """(first, past the last) of the pixels along an axis."""
        spans = {id(self._output): (place, place)}
        for node in reversed(self._nodes):
            seen = [spans[id(tensor)] for tensor in node.outputs if id(tensor) in spans]
            if not seen or not node.input_tensors:
                continue
            low, high = min(first for first, _ in seen), max(last for _, last in seen)
            length = self._sizes[id(node.input_tensors[0])][axis]
            window, step, padding = _window(node.operation, length, axis)
            low, high = low * step - padding, high * step - padding + window - 1
            for tensor in node.input_tensors:
                first, last = spans.get(id(tensor), (low, high))
                spans[id(tensor)] = min(first, low), max(last, high)
        first, last = spans[id(self._input)]
        return first, last + 1


def _pair(value, axis):
    return value if isinstance(value, int) else value[axis]


def _window(operation, length, axis) -> tuple[int, int, int]:
    """(length of the window, stride, padding before) of an operation along an axis of its input."""
    if isinstance(operation, _EVERYWHERE):
        raise UserError(
            f"{operation.name} sees the whole image, so every receptive field is the image; choose another level or "
            "backbone.",
            "tap",
        )
    if isinstance(operation, keras.layers.ZeroPadding2D):
        return 1, 1, operation.padding[axis][0]
    if isinstance(operation, keras.layers.Cropping2D):
        return 1, 1, -operation.cropping[axis][0]
    if _is_pointwise(operation):
        return 1, 1, 0
    if not isinstance(operation, _WINDOWS):
        raise UserError(
            f"the window of {operation.name} ({type(operation).__name__}) is not known, so there are no exact "
            "receptive fields; choose another level or backbone.",
            "tap",
        )
    size = getattr(operation, "kernel_size", getattr(operation, "pool_size", None))
    step, dilation = _pair(operation.strides, axis), _pair(getattr(operation, "dilation_rate", 1), axis)
    window = (_pair(size, axis) - 1) * dilation + 1
    if operation.padding != "same":
        return window, step, 0
    return window, step, max((-(-length // step) - 1) * step + window - length, 0) // 2


def _is_pointwise(operation):
    """Whether each position of what an operation gives depends on the same position of its inputs alone."""
    kind = type(operation)
    if kind.__name__ == "Pad" and kind.__module__.startswith("keras."):
        return not any(sum(edge) for edge in operation.pad_width[1:3])  # of channels
    named = kind.__name__ in _POINTWISE_NAMES and kind.__module__.startswith("keras.")
    if not (named or isinstance(operation, _POINTWISE)):
        return False
    axes = getattr(operation, "axis", -1)
    return all(axis in (-1, 3) for axis in ([axes] if isinstance(axes, int) else axes or ()))


def _after(operation, length, axis) -> int:
    """The length of what an operation gives along an axis."""
    if isinstance(operation, keras.layers.ZeroPadding2D):
        return length + sum(operation.padding[axis])
    if isinstance(operation, keras.layers.Cropping2D):
        return length - sum(operation.cropping[axis])
    window, step, _ = _window(operation, length, axis)
    whole = getattr(operation, "padding", "same") in ("same", "end")
    return -(-length // step) if whole else (length - window) // step + 1
