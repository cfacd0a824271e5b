"""The pixels that one position of a feature map sees: exact, borders included."""

from typing import NamedTuple

import keras

from visiontasks.backbones.backbone import Graph
from visiontasks.errors import UserError

# what normalizes over all positions, or gates with their mean, sees the whole image
_EVERYWHERE = (
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GroupNormalization,
    keras.layers.Flatten,
)


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
    if isinstance(operation, _EVERYWHERE) or _mixes(operation):
        raise UserError(
            f"{operation.name} sees the whole image, so every receptive field is the image; choose another level or "
            "backbone.",
            "tap",
        )
    if isinstance(operation, keras.layers.ZeroPadding2D):
        return 1, 1, operation.padding[axis][0]
    if isinstance(operation, keras.layers.Cropping2D):
        return 1, 1, -operation.cropping[axis][0]
    size = getattr(operation, "kernel_size", getattr(operation, "pool_size", None))
    if size is None:
        return 1, 1, 0
    step, dilation = _pair(operation.strides, axis), _pair(getattr(operation, "dilation_rate", 1), axis)
    window = (_pair(size, axis) - 1) * dilation + 1
    if operation.padding != "same":
        return window, step, 0
    return window, step, max((-(-length // step) - 1) * step + window - length, 0) // 2


def _mixes(operation):
    """Whether an operation mixes all positions, or the axes of what it is given."""
    kinds = (keras.Sequential, keras.Model, keras.layers.UpSampling2D, keras.layers.Conv2DTranspose)
    kinds += (keras.layers.Reshape, keras.layers.Permute, keras.layers.MultiHeadAttention)
    return isinstance(operation, kinds)


def _after(operation, length, axis) -> int:
    """The length of what an operation gives along an axis."""
    if isinstance(operation, keras.layers.ZeroPadding2D):
        return length + sum(operation.padding[axis])
    if isinstance(operation, keras.layers.Cropping2D):
        return length - sum(operation.cropping[axis])
    window, step, _ = _window(operation, length, axis)
    same = getattr(operation, "padding", "same") == "same"
    return -(-length // step) if same else (length - window) // step + 1
