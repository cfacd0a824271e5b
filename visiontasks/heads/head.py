"""`Head`: the contract of every task head. Read this before writing one; the folder is the registry."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Classes, fields_of
from visiontasks.losses.reduction import Term
from visiontasks.sample import prefix


class Head(Checked, keras.layers.Layer):
    """A Keras layer that solves one task in one way. Abstract: a subclass implements all of the below.

    These methods run in the graph, on TensorFlow, JAX and PyTorch, with shapes fixed by the input's:

    - `build(pyramid)`: creates the layers for the shapes {tap: (batch, height, width, channels)}.
    - `call(features, training)`: {tap: tensor} to raw outputs, a tensor or a nest of tensors.
    - `compute_losses(targets, outputs, training)`: to {term: Term(total, count)}, one for each name in `loss_terms`. It
      matches targets to outputs itself, computes in float32, and leaves out what is not labeled. Totals and counts add
      up over replicas and batches; the model divides once.
    - `decode(outputs)`: to predictions, a dict of float32 or int32 tensors whose first axis is the batch.

    (Every Keras layer has a property `losses`, the regularizers'. Hence the name `compute_losses`.)

    A constructor's signature is the schema: its annotations define the recipe keys and are checked at every call, and
    `get_config` returns its arguments (see `visiontasks.arguments.Checked`). A subclass of a head has that head's
    arguments if its `**kwargs` pass them on, and Keras can load it without a decorator.

    Args:
        classes: names of the classes, or their number.
        learns: the label set that it learns, by name; by default the only one of its kind.
        name: of the layer; by default the file's.

    Attributes:
        task: the task whose metrics and drawings it uses, a file in `visiontasks/evaluation/tasks/`.
        fields: the Sample fields that it learns from; the first one gives the class names. An instance also has those
            of `fields_with` for its arguments. In a batch their names have the `prefix` of its label set. `known` and
            `ignored` belong to objects, if a batch has them: see ops/objects.py.
        fields_with: {argument: further Sample fields that it learns from if the argument is given}.
        divisible: whether image height and width must be multiples of the deepest level's stride if it taps several
            levels, because anchors would otherwise be shifted from their cells. A head that fits its levels to each
            other takes any size.
        any_size: whether it can be built without a known image size, and then takes images of any size.
    """

    task: str
    fields: tuple[str, ...]
    fields_with: dict[str, tuple[str, ...]] = {}
    divisible = True
    any_size = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(package=cls.__module__.partition(".")[0])(cls)

    def __init__(self, classes: Classes, learns: str | None = None, name: str | None = None, **kwargs):
        super().__init__(name=name or _name_of(type(self)), **kwargs)
        self.classes = tuple(map(str, range(classes))) if isinstance(classes, int) else classes
        self.learns = learns
        self.fields = fields_of(self.fields, self.fields_with, self.arguments)

    def taps(self, available: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the backbone's outputs that it uses, among those available."""
        raise NotImplementedError(f"{type(self).__name__} does not say which taps it uses.")

    @property
    def loss_terms(self) -> tuple[str, ...]:
        """The names of the terms that `compute_losses` returns."""
        raise NotImplementedError(f"{type(self).__name__} does not name its loss terms.")

    def prefix(self, names) -> str:
        """The prefix of its fields' names in a batch: "", or "NAME/" for a named label set.

        The set is the one that it `learns`. By default it is the one without a name or, if there is none, the only set
        with its fields.

        Args:
            names: of the batch's arrays.
        """
        return prefix(self.fields, self.learns, names)

    def label_set(self, targets: dict) -> dict:
        """The targets of its label set, under field names without prefix."""
        prefix = self.prefix(targets)
        return {key.removeprefix(prefix): value for key, value in targets.items() if key.startswith(prefix)}

    def compute_losses(self, targets: dict, outputs, training: bool = True) -> dict[str, Term]:
        """{term: Term(total, count)} for a batch of targets (formats: `visiontasks.sample.FIELDS`)."""
        raise NotImplementedError(f"{type(self).__name__} computes no losses.")

    def decode(self, outputs) -> dict:
        """Raw outputs to predictions: {name: tensor with the batch first}."""
        raise NotImplementedError(f"{type(self).__name__} decodes nothing.")


def _name_of(kind: type) -> str:
    """A head's name in a recipe: its file's; for a class in another file, the class's."""
    file = kind.__module__.rpartition(".")[2]
    return file if file.replace("_", "") == kind.__name__.lower() else kind.__name__.lower()


def levels_among(taps, who: str, least: int = 1, within: range = range(100)) -> list[str]:
    """The levels among the names of taps, C0, C1, … (level n has stride 2ⁿ), finest first.

    Args:
        taps: names of a backbone's taps.
        who: the head's name, for the error.
        least: the number of levels it needs.
        within: the numbers of the levels that it can use.

    Raises:
        ValueError: there are fewer than `least`.
    """
    levels = [name for name in sorted(taps) if name[:1] == "C" and name[1:].isdigit() and int(name[1:]) in within]
    if len(levels) < least:
        raise ValueError(
            f"{who}: needs {least} or more levels of a backbone (C{within.start} is the tap of stride "
            f"{2**within.start}, and so on); got {list(taps)}."
        )
    return levels


def image_size(features: dict, who: str) -> tuple[int, int]:
    """(height, width) of the images of a batch, which a head taps as "image".

    Args:
        features: the input of the head's call.
        who: the head's name, for the error.

    Raises:
        ValueError: the size is not known when the model is called.
    """
    size = tuple(features["image"].shape[1:3])
    if None in size:
        raise ValueError(f"{who}: the image's height and width must be known when the model is called.")
    return size


def by_anchor(x, columns: int):
    """A convolution's output with a row per anchor: (B, H, W, N * columns) to (B, H * W * N, columns)."""
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3] // columns, columns))


def for_each(values, batch):
    """Repeat a constant for each image of a batch: (…) to float32 (batch, …)."""
    values = ops.convert_to_tensor(values, "float32")
    return ops.tile(ops.expand_dims(values, 0), (batch, *(1,) * len(values.shape)))
