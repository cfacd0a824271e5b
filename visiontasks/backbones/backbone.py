"""What every backbone shares: its input, the pyramid it ends in, strides read off its graph, weights from a file.

A backbone is a plain functional `keras.Model` from uint8 RGB images (batch, H, W, 3), 0..255, to a dict of feature
maps (batch, H / 2**n, W / 2**n, channels) under the names "C0" to "C5" (level n has stride 2**n), and perhaps other
names. It normalizes its own input the way its weights were trained. Where convolutions are dilated instead of strided,
deeper levels keep the size and the stride of the one before.
"""

import contextlib
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import keras

from visiontasks.arguments import InputShape, checked
from visiontasks.errors import UserError
from visiontasks.layers.batch_normalization import fuse
from visiontasks.layers.dilated_max_pooling import DilatedMaxPooling2D
from visiontasks.layers.normalization import FrozenBatchNormalization
from visiontasks.layers.pixel_normalization import PixelNormalization
from visiontasks.layers.spatial_pyramid_pooling import SpatialPyramidPooling2D
from visiontasks.taps import Tap
from visiontasks.weights import checkpoint
from visiontasks.weights.keras_file import check_keras_file, reason
from visiontasks.weights.pretrained import is_imagenet
from visiontasks.weights.transfer import listed

WEIGHTS_FILES = (".keras", ".weights.h5", ".h5")


@contextlib.contextmanager
def deep_recursion():
    """Lets Keras walk very deep networks: it does so by recursion, a few calls a layer.

    Python's own limit of 1000 is reached by ResNets of depth 200 or so; 30,000 is enough for ResNet-1202.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 30_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@checked
def image_input(input_shape: InputShape) -> keras.KerasTensor:
    """The input of a backbone: uint8 images of `input_shape`, (H or None, W or None, 3).

    Raises:
        UserError: the shape is not of that form.
    """
    return keras.Input(input_shape, dtype="uint8", name="image")


def pyramid_model(inputs, outputs: dict, name: str) -> keras.Model:
    """The backbone from `inputs` to {tap: tensor}, the levels first; its batch normalizations are this package's."""
    ordered = {tap: outputs[tap] for tap in sorted(outputs, key=lambda tap: (_level(tap) is None, tap))}
    return fuse(keras.Model(inputs, ordered, name=name))


def levels(backbone: keras.Model) -> dict[str, int]:
    """{"C1": 2, "C2": 4, …}: the levels that a backbone offers, finest first, with their strides.

    Level n has stride 2ⁿ. In a network with dilated layers the graph tells, where it is less.
    """
    numbers = sorted(_level(tap) for tap in backbone.output if _level(tap) is not None)
    usual = {f"C{n}": 2**n for n in numbers}
    if not any(map(_dilated, backbone.layers)):
        return usual
    graph = Graph(backbone.input, list(backbone.output.values()))
    return {level: min(stride, graph.stride(backbone.output[level]) or stride) for level, stride in usual.items()}


def taps_of(backbone: keras.Model) -> dict[str, Tap]:
    """{name: Tap}: the outputs that a backbone offers, and its input, "image"."""
    strides = {"image": 1, **levels(backbone)}
    tensors = {**backbone.output, "image": backbone.input}
    return {name: Tap(name, strides.get(name), x.shape[-1], tuple(x.shape[1:-1])) for name, x in tensors.items()}


def _level(tap: str) -> int | None:
    match = re.fullmatch(r"C(\d)", tap)
    return int(match[1]) if match else None


class Graph:
    """The tensors of a functional model in the order of computation, with their strides.

    A stride counts input pixels from one position to the next: the product of the strides of the convolutions and
    pools on the way, so it holds for any padding. After a global pooling there is none.

    Args:
        inputs, output: the ends of the graph; keras tensors.
    """

    def __init__(self, inputs, output):
        with deep_recursion():
            # private, for Keras offers the operations of a graph, but not which of their calls belong to it
            nodes_by_depth = keras.Function(inputs, output)._nodes_by_depth
        self.nodes = [node for depth in sorted(nodes_by_depth, reverse=True) for node in nodes_by_depth[depth]]
        self.output = output
        self._stride, self._sees = {}, {}
        for node in self.nodes:
            before = [t for t in node.input_tensors if self._stride.get(id(t))]
            step = max((self._stride[id(t)] for t in before), default=1)
            stride = None if node.input_tensors and not before else step * _factor(node.operation)
            # from the first to the last position that a window takes in lie (size - 1) steps of its input
            sees = tuple(
                max((self._sees[id(t)][axis] for t in before), default=1) + (length - 1) * step
                for axis, length in enumerate(_window(node.operation))
            )
            for tensor in node.outputs:
                self._stride[id(tensor)] = stride or None
                self._sees[id(tensor)] = sees

    def stride(self, tensor) -> int | None:
        """The stride of a tensor; None where it has no positions."""
        return self._stride[id(tensor)]

    def receptive_field(self, tensor) -> int | None:
        """How many input pixels a position of a tensor depends on, borders aside; None as for stride.

        Along the axis where there are more.
        What reaches it through a global pooling, such as a squeeze-and-excitation gate, is left out.
        """
        return max(self._sees[id(tensor)]) if self.stride(tensor) else None

    def bottlenecks(self) -> list:
        """The tensors that every path from input to output runs through, in order: nothing bypasses them."""
        ahead, behind = {}, {id(t): 0 for node in self.nodes for t in node.outputs}
        for node in self.nodes:
            paths = sum(ahead[id(t)] for t in node.input_tensors) if node.input_tensors else 1
            ahead.update((id(t), paths) for t in node.outputs)
        behind[id(self.output)] = 1
        for node in reversed(self.nodes):
            for tensor in node.input_tensors:
                behind[id(tensor)] += sum(behind[id(t)] for t in node.outputs)
        total = ahead[id(self.output)]
        return [t for node in self.nodes for t in node.outputs if ahead[id(t)] * behind[id(t)] == total]

    def branchings(self) -> list:
        """The tensors that two or more operations read, in order, and the output."""
        readers = {}
        for node in self.nodes:
            for tensor in node.input_tensors:
                readers[id(tensor)] = readers.get(id(tensor), 0) + 1
        return [t for node in self.nodes for t in node.outputs if readers.get(id(t), 0) > 1 or t is self.output]


_WITHOUT_POSITIONS = (
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Flatten,
    keras.layers.AdaptiveAveragePooling2D,  # its windows grow with the image
    SpatialPyramidPooling2D,
)


def _factor(operation) -> int:
    """By how much an operation multiplies the stride; 0 where it leaves no positions."""
    if isinstance(operation, keras.Sequential):
        product = 1
        for layer in operation.layers:
            product *= _factor(layer)
        return product
    if isinstance(operation, _WITHOUT_POSITIONS):
        return 0
    strides = getattr(operation, "strides", 1)
    return strides if isinstance(strides, int) else strides[0]


def _window(operation) -> tuple[int, int]:
    """The height and width of the window that an operation looks through, in positions of its input."""
    if isinstance(operation, keras.Sequential):
        size, step = (1, 1), 1
        for layer in operation.layers:
            size = tuple(length + (more - 1) * step for length, more in zip(size, _window(layer), strict=True))
            step *= _factor(layer)
        return size
    size = _pair(getattr(operation, "kernel_size", getattr(operation, "pool_size", 1)))
    dilation = _pair(getattr(operation, "dilation_rate", 1))
    return tuple((length - 1) * rate + 1 for length, rate in zip(size, dilation, strict=True))


def _dilated(layer) -> bool:
    return isinstance(layer, DilatedMaxPooling2D) or _pair(getattr(layer, "dilation_rate", 1)) != (1, 1)


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def load_weights(
    model: keras.Model,
    path: str | Path | None,
    layer_of: Callable[[str], str | None] | None = None,
    strict: bool = True,
):
    """Give a model the weights in a file: Keras's `.keras`, `.weights.h5`, or `.h5` of Keras 2, or a PyTorch one.

    Out of a `.keras` file of a model that has a `backbone`, that backbone's weights are taken.

    Args:
        model: a backbone.
        path: the file; None leaves the weights as they are.
        layer_of: from a PyTorch module's name to the Keras layer's, as `checkpoint.load` takes it; None where no
            PyTorch checkpoint fits.
        strict: whether a PyTorch checkpoint must fit completely; else a warning lists what was skipped.

    Raises:
        UserError: there is no such file, it is of another kind, damaged, or of another architecture.
    """
    if path is None:
        if any(isinstance(layer, FrozenBatchNormalization) for layer in model.layers):
            warnings.warn(
                f"norm: frozen_batch with random weights normalizes nothing in {model.name}, since its statistics stay "
                "at mean 0 and variance 1. Give weights, or norm=batch, group or layer.",
                stacklevel=4,
            )
        return
    if is_imagenet(path):
        raise UserError(
            f"{model.name} has no ImageNet weights. Use weights=null, a file, or another backbone such as "
            "efficientnet_lite0.",
            "weights",
        )
    path = Path(path)
    if not path.is_file():
        raise UserError(f"expected imagenet, null or a file; got {str(path)!r}, and no such file exists.", "weights")
    if layer_of and path.suffix in checkpoint.SUFFIXES:
        say_skipped(checkpoint.load(model, path, layer_of, strict), path)
        return
    if path.suffix not in (".keras", ".h5"):
        known = (*WEIGHTS_FILES, *(checkpoint.SUFFIXES if layer_of else ()))
        raise UserError(f"expected a file ending in {', '.join(known)}; got {str(path)!r}.", "weights")
    try:
        if path.suffix == ".keras":
            check_keras_file(path)
            saved = keras.saving.load_model(path, compile=False)  # safe mode: runs no code out of the file
            saved_backbone = getattr(saved, "backbone", saved)
            _check_pixels(saved_backbone, model)
            copy_weights(saved_backbone, model, pruned=hasattr(saved, "backbone"))
        else:
            if path.name.endswith(".weights.h5"):
                _check_count(model, path)
            model.load_weights(path)
    except Exception as error:  # Keras, h5py and zipfile raise a dozen kinds for a file that does not fit
        raise UserError(f"{str(path)!r} does not fit {model.name}: {reason(error)}.", "weights") from error


def say_skipped(skipped: list[str], path: str | Path):
    """Warn of what was not taken from a checkpoint."""
    if skipped:
        warnings.warn(f"weights: not taken from {path}: {listed(skipped, '; ')}.", stacklevel=5)


def _check_pixels(source, target):
    """Raise where two models of one architecture preprocess or pad differently; their weights would not show it."""
    theirs, ours = (
        {
            layer.name: {k: v for k, v in layer.get_config().items() if k in ("mean", "std", "bgr", "padding")}
            for layer in model.layers
            if isinstance(layer, (PixelNormalization, keras.layers.ZeroPadding2D))
        }
        for model in (source, target)
    )
    for name in theirs.keys() & ours.keys():
        if theirs[name] != ours[name]:
            raise ValueError(
                f"{name}: expected {ours[name]}, the file's has {theirs[name]}. Build the backbone as the file's was: "
                "with the same kind of weights, or another name such as keras_vgg16."
            )


def _check_count(model, path):
    """Raise where a `.weights.h5` file holds more than the model: Keras would fill the model and leave out the rest."""
    arrays = []
    with h5py.File(path) as file:
        file.visititems(lambda name, x: arrays.append(name) if isinstance(x, h5py.Dataset) else None)
    held = sum(not name.startswith(("optimizer", "_")) for name in arrays)
    if held > len(model.variables):
        raise ValueError(f"expected at most {len(model.variables)} weights, got {held}.")


def copy_weights(source: keras.Model, target: keras.Model, pruned: bool = False):
    """Copy every weight between two models of one architecture, in their order.

    Args:
        source, target: the two models.
        pruned: `source` may lack layers, as a saved VisionModel's backbone lacks those that none of its heads tapped:
            then weights are matched by name, and a warning names the layers that keep theirs.

    Raises:
        ValueError: they differ in the number or the shapes of their weights.
    """
    theirs, ours = source.weights, target.weights
    by_name = {v.path: v for v in ours}
    if pruned and len(theirs) < len(ours) and all(v.path in by_name for v in theirs):
        rest = sorted({v.path.rpartition("/")[0] for v in ours} - {v.path.rpartition("/")[0] for v in theirs})
        warnings.warn(f"weights: the file has none for {', '.join(rest)}, which keep their own.", stacklevel=3)
        ours = [by_name[v.path] for v in theirs]
    if len(theirs) != len(ours):
        raise ValueError(f"expected {len(ours)} weights, got {len(theirs)}.")
    for a, b in zip(theirs, ours, strict=True):
        if tuple(a.shape) != tuple(b.shape):
            raise ValueError(f"{b.path}: expected shape {tuple(b.shape)}, got {tuple(a.shape)} of {a.path}.")
    for a, b in zip(theirs, ours, strict=True):
        b.assign(a)
    for layer in target._flatten_layers():  # private: Keras has no public walk over nested layers
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with a copy of its weights
