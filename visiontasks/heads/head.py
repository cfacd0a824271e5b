"""`Head`: the contract of every task head. Read this before writing one; the folder is the registry."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Classes, fields_of
from visiontasks.losses.reduction import Term


class Head(Checked, keras.layers.Layer):
    """A Keras layer that owns one way of solving one task. Abstract: a subclass gives all of the below.

    The verbs all run in the graph, on TensorFlow, JAX and PyTorch, with shapes fixed by the input's:

    - `build(pyramid)`: makes the layers for the shapes {tap: (batch, height, width, channels)} it will see.
    - `call(features, training)`: {tap: tensor} to raw outputs, a tensor or a nest of tensors.
    - `compute_losses(targets, outputs, training)`: to {term: Term(total, count)}, one for each name in `loss_terms`. It
      matches targets to outputs itself, computes in float32, and leaves out what is not labelled. Totals and counts add
      up over replicas and batches; the model divides once.
    - `decode(outputs)`: to predictions, a dict of float32 or int32 tensors whose first axis is the batch.

    (Keras already has a property `losses` on every layer: the regularisers'. Hence `compute_losses`.)

    A constructor's signature is the schema: its annotations are what a recipe may say and what is checked at every
    call, and `get_config` gives its arguments (see `visiontasks.arguments.Checked`). A subclass of a head has that
    head's arguments, as far as its own `**kwargs` hand them on, and is known to Keras's loading without a decorator.

    Args:
        classes: names of the classes, or their number.
        learns: the label set that it learns, by name; by default the only one of its kind.
        name: the layer's; by default its file's.

    Attributes:
        task: the task whose metrics and drawings it gets, a file in `visiontasks/evaluation/tasks/`.
        fields: the Sample fields it learns from; the class names are the first one's. An instance has those of
            `fields_with` too, as its arguments say. In a batch they stand behind the name of its label set: see
            `prefix`. `known` and `ignored` come along with objects, where a batch has them: see ops/objects.py.
        fields_with: {argument: Sample fields that it learns from too where that argument is given}.
        divisible: whether the image's height and width must be multiples of its deepest level's stride, if it taps
            several levels: for anchors would lie beside their cells. A head that fits its levels to each other takes
            any size.
        any_size: whether it can be built without knowing the picture's size, and then takes pictures of any.
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
        """The names of the backbone's outputs that it uses, out of those available."""
        raise NotImplementedError(f"{type(self).__name__} does not say which taps it uses.")

    @property
    def loss_terms(self) -> tuple[str, ...]:
        """The names of the terms that `compute_losses` returns."""
        raise NotImplementedError(f"{type(self).__name__} does not name its loss terms.")

    def prefix(self, names) -> str:
        """What stands before its fields' names in a batch: "" or, of a named label set, "NAME/".

        The set is the one that it `learns`; by default the one with bare names or, where there is none, the only other
        one with its fields.

        Args:
            names: those of the batch's arrays.
        """
        if self.learns:
            return f"{self.learns}/"
        prefixes = {name[: name.rfind("/") + 1] for name in names}
        whole = [prefix for prefix in prefixes if all(prefix + field in names for field in self.fields)]
        return whole[0] if len(whole) == 1 else ""

    def label_set(self, targets: dict) -> dict:
        """The targets of its label set, under bare field names."""
        prefix = self.prefix(targets)
        return {key.removeprefix(prefix): value for key, value in targets.items() if key.startswith(prefix)}

    def compute_losses(self, targets: dict, outputs, training: bool = True) -> dict[str, Term]:
        """{term: Term(total, count)} for a batch of targets (their forms: `visiontasks.sample.FIELDS`)."""
        raise NotImplementedError(f"{type(self).__name__} computes no losses.")

    def decode(self, outputs) -> dict:
        """Raw outputs to predictions: {name: tensor with the batch first}."""
        raise NotImplementedError(f"{type(self).__name__} decodes nothing.")


def _name_of(kind: type) -> str:
    """A head's name as a recipe has it: its file's, or of a class in another file the class's own."""
    file = kind.__module__.rpartition(".")[2]
    return file if file.replace("_", "") == kind.__name__.lower() else kind.__name__.lower()


def levels_among(taps, who: str, least: int = 1, within: range = range(100)) -> list[str]:
    """The levels among the names of taps, C0, C1, … (level n has stride 2ⁿ), the finest first.

    Args:
        taps: names of a backbone's taps.
        who: the head that asks, for the error.
        least: how many it needs.
        within: the numbers of the levels that it can use.

    Raises:
        ValueError: there are fewer than `least`.
    """
    found = [name for name in sorted(taps) if name[:1] == "C" and name[1:].isdigit() and int(name[1:]) in within]
    if len(found) < least:
        raise ValueError(
            f"{who}: needs {least} or more levels of a backbone (C{within.start} is the tap of stride "
            f"{2**within.start}, and so on); got {list(taps)}."
        )
    return found


def picture_size(features: dict, who: str) -> tuple[int, int]:
    """(height, width) of the pictures of a batch, which a head has tapped as "image".

    Args:
        features: what the head was called with.
        who: the head's name, for the error.

    Raises:
        ValueError: they are not known when the model is called.
    """
    size = tuple(features["image"].shape[1:3])
    if None in size:
        raise ValueError(f"{who}: the picture's height and width must be known when the model is called.")
    return size


def for_each(values, batch):
    """A constant once for each picture of a batch: (…) to float32 (batch, …)."""
    values = ops.convert_to_tensor(values, "float32")
    return ops.tile(ops.expand_dims(values, 0), (batch, *(1,) * len(values.shape)))
