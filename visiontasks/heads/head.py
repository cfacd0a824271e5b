"""`Head`: the contract of every task head. Read this before writing one; the folder is the registry."""

import dataclasses
from collections.abc import Iterable

import keras

from visiontasks.arguments import Checked, Classes, fields_of, task_of
from visiontasks.heads.choices import Choice
from visiontasks.losses.reduction import Term
from visiontasks.sample import prefix
from visiontasks.skeleton import COCO_PERSON, Skeleton
from visiontasks.taps import Tap, levels_among


class Head(Checked, keras.layers.Layer):
    """A Keras layer that solves one task in one way. Abstract: a subclass implements all of the below.

    These methods run in the graph, on TensorFlow, JAX and PyTorch, with shapes fixed by the input's:

    - `build(taps)`: creates the layers for its taps, {name: Tap}, after calling the base's.
    - `call(features, training)`: {tap: tensor} to raw outputs, a tensor or a nest of tensors.
    - `compute_losses(targets, outputs, training)`: to {term: Term(total, count)}, one for each name in `loss_terms`. It
      matches targets to outputs itself, computes in float32, and leaves out what is not labeled. Totals and counts add
      up over replicas and batches; the model divides once.
    - `decode(outputs)`: to predictions, a dict of float32 or int32 tensors whose first axis is the batch.
    - `choose(outputs, kind, number, box)`: to a Choice, the one prediction of each image that `visiontasks.explain`
      asks about: the class, tag, box, mask or joint of that number, inside of that box, or else the strongest.
    - `score(outputs, choice)`: to float32 (B,), how strongly raw outputs of these images, perhaps changed, speak for
      the choice: a logit where there is one, differentiable. With `choose` the smallest thing that all maps need.

    A head that is not `by_gradients` has no loss terms and no trainable weights. It implements `adapt` instead, which
    fits its weights to the features of normal images in one pass; see `visiontasks.model.VisionModel.adapt`.

    (Every Keras layer has a property `losses`, the regularizers'. Hence the name `compute_losses`.)

    A constructor's signature is the schema: its annotations define the recipe keys and are checked at every call, and
    `get_config` returns its arguments (see `visiontasks.arguments.Checked`). A subclass of a head has that head's
    arguments if its `**kwargs` pass them on, and Keras can load it without a decorator.

    Args:
        classes: names of the classes, or their number.
        learns: the label set that it learns, by name; by default the only one of its kind.
        name: of the layer; by default the file's.

    Raises:
        ValueError: an argument does not fit; the text says what was expected.

    Attributes:
        classes: names of the classes; "0", "1", … where their number was given.
        numbered: whether their number was given.
        task: the task whose metrics and drawings it uses, a file in `visiontasks/evaluation/tasks/`.
        fields: the Sample fields that it learns from; the first one gives the class names. An instance also has those
            of `fields_with` for its arguments. In a batch their names have the `prefix` of its label set. `known` and
            `ignored` belong to objects, if a batch has them: see ops/objects.py.
        fields_with: {argument: further Sample fields that it learns from if the argument is given}.
        scoring_fields: further fields that its metrics use where the data have them; nothing is learned from them.
        tasks_with: {argument, or several: the task instead of `task` if the argument, or each of them, is given}.
        divisible: whether image height and width must be multiples of the deepest level's stride if it taps several
            levels, because anchors would otherwise be shifted from their cells. A head that fits its levels to each
            other takes any size.
        alone: whether it looks at one object that fills the image: `data.resize` is then object.
        explains: the kinds of predictions that `choose` takes, the usual one first: class, tag, box, mask, joint.
        by_gradients: whether it learns by gradients of its losses; otherwise by `adapt`, as the only head of a model.
        any_size: whether it can be built without a known image size, and then takes images of any size.
        tapped: the levels that it taps, a list of Tap, finest first; set by `build`.
    """

    task: str
    fields: tuple[str, ...]
    fields_with: dict[str, tuple[str, ...]] = {}
    scoring_fields: tuple[str, ...] = ()
    tasks_with: dict[str | tuple[str, ...], str] = {}
    divisible = True
    any_size = True
    alone = False
    explains: tuple[str, ...] = ()
    by_gradients = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(package=cls.__module__.partition(".")[0])(cls)

    def __init__(self, classes: Classes, learns: str | None = None, name: str | None = None, **kwargs):
        super().__init__(name=name or _name_of(type(self)), **kwargs)
        self.numbered = isinstance(classes, int)
        self.classes = tuple(map(str, range(classes))) if self.numbered else classes
        self.learns = learns
        self.fields = fields_of(self.fields, self.fields_with, self.arguments)
        self.task = task_of(self.task, self.tasks_with, self.arguments)

    def taps(self, available: dict[str, Tap]) -> tuple[str, ...]:
        """The names of the backbone's taps that it uses, among those available; "image" is the backbone's input."""
        raise NotImplementedError(f"{type(self).__name__} does not say which taps it uses.")

    def build(self, taps: dict[str, Tap]):
        if not all(isinstance(tap, Tap) for tap in taps.values()):  # Keras's shapes do not tell strides
            raise ValueError(f"taps: expected {{name: Tap}}, got {taps}. Let a VisionModel build the head.")
        self._taps, self.tapped = dict(taps), levels_among(taps, self.name, least=0)
        named = {name: tap.stride for name, tap in taps.items() if name != "image" and tap.stride}
        if len(named) > len(self.tapped):
            raise ValueError(
                f"levels: expected one level a stride, got the strides {named}. Leave the levels of a dilated backbone "
                "out: then the deepest of each stride is taken."
            )

    def get_build_config(self):
        # Keras would record the argument of `build` as it is; a file needs plain values
        return {"taps": [dataclasses.asdict(tap) for tap in self._taps.values()]} if self.built else None

    def build_from_config(self, config):
        taps = [Tap(**{**tap, "size": tuple(tap["size"])}) for tap in config["taps"]]
        self.build({tap.name: tap for tap in taps})

    @property
    def loss_terms(self) -> tuple[str, ...]:
        """The names of the terms that `compute_losses` returns."""
        raise NotImplementedError(f"{type(self).__name__} does not name its loss terms.")

    @property
    def skeleton(self) -> Skeleton | None:
        """The Skeleton of its keypoints, from its argument `skeleton`, by default COCO's; None if it learns none."""
        # not an attribute: Keras would make another tuple of it, without its limbs
        given = self.arguments.get("skeleton")
        return (Skeleton(**given) if given else COCO_PERSON) if "keypoints" in self.fields else None

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

    def adapt(self, batches: Iterable[dict]):
        """Fit a head that is not `by_gradients` to {tap: features} of normal images, in one pass; runs eagerly.

        The number of images may differ from batch to batch.
        """
        raise NotImplementedError(f"{type(self).__name__} learns by gradients, or does not say how it is fitted.")

    def decode(self, outputs) -> dict:
        """Raw outputs to predictions: {name: tensor with the batch first}."""
        raise NotImplementedError(f"{type(self).__name__} decodes nothing.")

    def names_of(self, kind: str) -> tuple[str, ...]:
        """The names of what it can be asked for: the classes, or of the kind joint the keypoints."""
        return tuple(self.skeleton) if kind == "joint" else self.classes

    def choose(self, outputs, kind: str, number=None, box=None) -> Choice:
        """The prediction that is to be explained, for each image of these raw outputs.

        Args:
            outputs: of `call`, not in training.
            kind: one of `explains`.
            number: of the class, the tag or the keypoint, one or int32 (B,); None for the strongest.
            box: float32 (B, 4) in pixels, where to look for it; None for the whole image.
        """
        raise NotImplementedError(f"{type(self).__name__} chooses nothing to explain.")

    def outputs_to_score(self, features: dict):
        """The raw outputs of features {tap: tensor} as far as `score` needs them, not in training; by default all."""
        return self(features, training=False)

    def score(self, outputs, choice: Choice):
        """How strongly raw outputs speak for a choice: float32 (B,), differentiable."""
        raise NotImplementedError(f"{type(self).__name__} scores no choice.")


def _name_of(kind: type) -> str:
    """A head's name in a recipe: its file's; for a class in another file, the class's."""
    file = kind.__module__.rpartition(".")[2]
    return file if file.replace("_", "") == kind.__name__.lower() else kind.__name__.lower()
