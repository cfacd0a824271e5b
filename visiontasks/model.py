"""`VisionModel`: a backbone feeds one head, or several. The only keras.Model here with training logic."""

import functools
import importlib
import warnings

import keras
from keras import backend, ops

from visiontasks import model_arrays, model_export
from visiontasks.backbones.backbone import deep_recursion, taps_of
from visiontasks.heads.head import Head
from visiontasks.layers.batch_normalization import fuse
from visiontasks.losses.reduction import PENALTY, Term, TermMean
from visiontasks.model_sizes import FunctionsBySize
from visiontasks.model_statistics import Adapts, check_alone
from visiontasks.model_validation import PredictsWithLosses
from visiontasks.ops import replicas
from visiontasks.preprocess import Preprocess
from visiontasks.sample import FIELDS


def _quiet(method):
    """Hide Keras's warnings about a Loader: it has no length, and `shuffle`, true by default, does nothing.

    A Loader shuffles by itself.
    """

    @functools.wraps(method)
    def quiet(self, x=None, *args, **kwargs):
        with warnings.catch_warnings():
            if model_arrays.is_loader(x) or model_arrays.is_loader(kwargs.get("validation_data")):
                for start in ("Your input ran out of data", "`shuffle=True` was passed, but will be ignored"):
                    warnings.filterwarnings("ignore", start, module="keras.src.trainers.epoch_iterator")
            return method(self, x, *args, **kwargs)

    return quiet


NOT_HEADS = {"path", "size", "frame", "seconds"}  # other keys of an image in `predictions.json`


@keras.saving.register_keras_serializable(package="visiontasks")
class VisionModel(FunctionsBySize, PredictsWithLosses, Adapts, keras.Model):
    """A backbone shared by one head, or by several that are trained jointly; otherwise an ordinary Keras model.

    Input is uint8 RGB images (B, H, W, 3), 0..255, alone or as {"image": …, targets by field name}: `fit` takes a
    loader, a dict of arrays, a `tf.data.Dataset` of such dicts, or `(images, targets)`. A call returns raw outputs,
    `predict` decoded predictions. With one head both are the head's; with several they are {head name: …}.

    Args:
        backbone: keras.Model from uint8 images to {"C1": …, "C5": …}, level n at stride 2ⁿ. Its keras.layers'
            BatchNormalization layers become this package's faster subclass, in place.
        head: a Head, or {name: Head} for several tasks.
        loss_weights: {head name: weight of its loss in the sum}; by default 1.
        preprocess: {"size": [height, width], "resize": mode}, how images are resized in training, so that
            `visiontasks.load` does the same; `fit` takes it from its Loader, the last one's if there are several.

    Raises:
        ValueError: a head taps a level that the backbone does not have, a loss weight names no head, or a head that is
            not `by_gradients` is not the only one; when called,
            images that are not uint8, or whose height or width is not a multiple of `stride`.

    Attributes:
        stride: image height and width must be multiples of it. It is the stride of the deepest level of the heads that
            are `divisible` (see Head) and tap several levels; 1 (any size) if there are none.
        taps: {head name: {name: Tap}}, what each head takes of the backbone, and "image".
    """

    def __init__(
        self,
        backbone,
        head: Head | dict[str, Head],
        loss_weights: dict[str, float] | None = None,
        preprocess: dict | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if keras.config.image_data_format() != "channels_last":
            raise ValueError('expected keras.config.image_data_format() "channels_last", got "channels_first".')
        self.single = not isinstance(head, dict)
        self.heads = {head.name: head} if self.single else dict(head)
        self.loss_weights = dict(loss_weights or {})
        if unknown := self.loss_weights.keys() - self.heads.keys():
            raise ValueError(f"loss_weights: {sorted(unknown)} name no head; the heads are {sorted(self.heads)}.")
        if taken := NOT_HEADS & self.heads.keys():
            raise ValueError(f"head: {sorted(taken)} cannot name heads: predictions.json has keys of these names.")
        if cut := sorted(name for name in self.heads if "/" in name):
            raise ValueError(f"head: expected names without /, because metrics are named HEAD/METRIC; got {cut}.")
        check_alone(self.heads)
        self.preprocess = preprocess and Preprocess(**preprocess).get_config()
        self.taps = {name: _tapped(name, part, taps_of(backbone)) for name, part in self.heads.items()}
        self.stride = _stride(self.heads, self.taps)
        with deep_recursion():
            self.backbone = _only(fuse(backbone), {tap for taps in self.taps.values() for tap in taps})
        weights = {PENALTY: 1.0}
        for name, part in self.heads.items():
            weights |= {self._label(name, term): self.loss_weights.get(name, 1.0) for term in part.loss_terms}
        self._term_weights, self._trackers = weights, {label: TermMean(label) for label in weights}
        self._has_metrics = False  # whether `compile` was given metrics
        self.build(backbone.input.shape)

    def _label(self, name, term):
        # "_loss" distinguishes the loss dice_loss from the metric dice
        return f"{term}_loss" if self.single else f"{name}/{term}_loss"

    def build(self, input_shape):
        for name, head in self.heads.items():
            if not head.built:
                head.build(self.taps[name])
        self.built = True

    def call(self, inputs, training=None):
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        if "int" not in (dtype := backend.standardize_dtype(images.dtype)):
            raise model_arrays.not_uint8(dtype)
        if any(length is not None and length % self.stride for length in images.shape[1:3]):
            raise ValueError(
                f"image: expected a height and width that are multiples of {self.stride}, the stride of the deepest "
                f"level that a head with anchors uses, got {tuple(images.shape[1:3])}: anchors would not lie on their "
                "cells. Give load_data such a size."
            )
        features = {**self.backbone(images, training=training), "image": images}
        outputs = {
            name: head({tap: features[tap] for tap in self.taps[name]}, training=training)
            for name, head in self.heads.items()
        }
        return self._bare(outputs)

    def _bare(self, by_head):
        return next(iter(by_head.values())) if self.single else by_head

    def by_head(self, outputs) -> dict:
        """Outputs or predictions as {head name: …}, also if there is one head."""
        return {next(iter(self.heads)): outputs} if self.single else outputs

    def decode(self, outputs) -> dict:
        """Raw outputs to predictions: the head's dict of tensors, or {head name: dict of tensors}."""
        outputs = self.by_head(outputs)
        return self._bare({name: head.decode(outputs[name]) for name, head in self.heads.items()})

    def _targets(self, x, y) -> dict[str, dict]:
        """{head name: its label set, by field name without prefix}."""
        if y is None:
            if not isinstance(x, dict):
                raise ValueError("y: expected targets with the images: fit(images, targets), or one dict.")
            y = x
        if not isinstance(y, dict):
            (head,) = self.heads.values() if self.single else (None,)
            if head is None or len(head.fields) > 1:
                raise ValueError(
                    "y: expected a dict of targets by field name, because the model learns several fields."
                )
            y = {head.prefix(()) + head.fields[0]: y}
        missing = {head.prefix(y) + field for head in self.heads.values() for field in head.fields} - y.keys()
        if missing:
            raise ValueError(
                f"targets: {sorted(missing)} are missing; got {sorted(y)}. A loader provides the fields of "
                "load_data(…, fields=[…]) that its source has."
            )
        return {name: head.label_set(y) for name, head in self.heads.items()}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted sum of the heads' losses and the regularizers', float32.

        Each term is divided once, by its count over all replicas, so that the replicas' gradients sum to the gradient
        on one device.
        """
        if sample_weight is not None:
            raise ValueError(
                "sample_weight, class_weight: not supported; mark what must not count as unlabeled (-1, or 255)."
            )
        terms = self._terms(self._targets(x, y), y_pred, training)
        for label, term in terms.items():
            self._trackers[label].update_state(*term)
        counts = replicas.summed(ops.stop_gradient(ops.stack([term.count for term in terms.values()])))
        return self._weighted(
            {label: Term(term.total, counts[i]).mean for i, (label, term) in enumerate(terms.items())}
        )

    def _terms(self, targets, outputs, training) -> dict[str, Term]:
        """{label: Term} of the regularizers, of which each replica has its share, and of all heads."""
        number, outputs = replicas.number(), self.by_head(outputs)
        penalty = sum((ops.sum(ops.cast(loss, "float32")) for loss in self.losses), ops.zeros((), "float32"))
        terms = {PENALTY: Term(penalty / number, ops.full((), 1.0 / number, "float32"))}
        for name, head in self.heads.items():
            losses = head.compute_losses(targets[name], outputs[name], training=training)
            terms |= {self._label(name, term): value for term, value in losses.items()}
        return terms

    def _weighted(self, means):
        """The loss, from {label of a term: its mean}."""
        return sum(self._term_weights[label] * mean for label, mean in means.items())

    def get_metrics_result(self):
        """Keras's, but `loss` is the weighted sum of the reported terms plus the mean of the regularizers.

        Keras's own `loss` weights batches by their rows, labeled or not.
        """
        results = super().get_metrics_result()
        results.pop(PENALTY)
        return {**results, "loss": self._weighted({label: mean.result() for label, mean in self._trackers.items()})}

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Keras's, for each head's first field and its decoded predictions (if these are one tensor).

        With several heads, metrics are given by head name. What is not labeled has weight 0.
        """
        if not self._has_metrics:
            return self.get_metrics_result()  # without metrics a training step need not decode
        targets, outputs = self._targets(x, y), self.by_head(y_pred)
        labels, weights, predictions = {}, {}, {}
        for name, head in self.heads.items():
            field, values = head.fields[0], targets[name][head.fields[0]]
            absent = ops.cast(values, FIELDS[field].dtype) == FIELDS[field].absent
            decoded = list(head.decode(outputs[name]).values())
            predictions[name] = decoded[0] if len(decoded) == 1 else outputs[name]
            labels[name] = ops.where(absent, ops.zeros_like(values), values)
            # one weight per row of the prediction: per image, or per pixel
            absent = ops.all(absent, axis=-1) if field == "tags" else absent
            weights[name] = ops.cast(ops.logical_not(absent), "float32")
        return super().compute_metrics(x, self._bare(labels), self._bare(predictions), self._bare(weights))

    @_quiet
    def fit(self, x=None, y=None, *args, **kwargs):
        """Keras's `fit`; NumPy arrays and the class names of a Loader are checked first.

        Raises:
            ValueError: the head learns by `adapt`; arrays are none that a head can learn from, such as one-hot labels,
                masks of 0 and 255, or boxes that are shares of the image; the text names the array and the fix. Or a
                Loader's class names are not the head's.
        """
        if not self.by_gradients:
            raise ValueError(f"fit: head {next(iter(self.heads))!r} learns without gradients: call adapt(images).")
        model_arrays.check(self.heads, x, y)
        given = kwargs.get("validation_data")
        pair = given[:2] if isinstance(given, tuple) else (given,)
        model_arrays.check(self.heads, *pair, where="validation_data: ")
        model_arrays.check_names(self.heads.values(), x)
        model_arrays.check_names(self.heads.values(), given, where="validation_data: ")
        if model_arrays.is_loader(x):
            self.preprocess = Preprocess(x.size, x.resize, x.bits).get_config()
        return super().fit(x, y, *args, **kwargs)

    @_quiet
    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Keras's `evaluate`; NumPy arrays and the class names of a Loader are checked first.

        Raises:
            ValueError: as `fit` does.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # set when `fit` calls, which has checked them
            model_arrays.check(self.heads, x, y)
            model_arrays.check_names(self.heads.values(), x)
        return super().evaluate(x, y, *args, **kwargs)

    @_quiet
    def predict(self, x, *args, **kwargs):
        """Keras's `predict`: decoded predictions, NumPy arrays with the batch first; see `decode`."""
        return super().predict(x, *args, **kwargs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # private in Keras, which has no public seam here: on several replicas it builds from the mean of their
        # batches, and TensorFlow has no mean of bools such as `known`; one replica's batch has the same shapes
        if iterator is not None and self.distribute_strategy.num_replicas_in_sync > 1:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(lambda x: x.values[0] if hasattr(x, "values") else x, next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)

    def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None):
        """Write the model as a SavedModel, whose `serve` takes uint8 images and returns what `predict` returns.

        Use it with `tf.saved_model.load(filepath).serve(images)`: images (B, H, W, 3), for any B, to a flat dict of
        decoded predictions, whose keys begin with "HEAD/" if there are several heads. It needs neither Keras nor this
        package.

        Args:
            filepath: the folder to write.
            format: "tf_saved_model".
            verbose: whether Keras prints a summary.
            input_signature: [keras.InputSpec] of the images; by default uint8 (None, H, W, 3) with the backbone's H, W.

        Raises:
            ValueError: another format, another backend than TensorFlow, or no fixed image size although a head needs
                it.
        """
        model_export.export(self, filepath, format, verbose, input_signature)

    def save_own_variables(self, store):
        """Save the state of every seed generator, such as dropout's; Keras saves the layers' weights only."""
        super().save_own_variables(store)
        for i, state in enumerate(self._seed_states()):
            store[f"seed_{i}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store):
        """Restore the seed generators' states, if the file has them."""
        states = self._seed_states()
        if len(list(store.keys())) == len(states):  # else the file is older, or the model has another dropout
            for i, state in enumerate(states):
                state.assign(store[f"seed_{i}"])

    def _seed_states(self):
        """The variables that are neither weights nor metrics, in the layers' order."""
        others = {id(v) for v in (*self.weights, *self.metrics_variables)}
        return [v for v in self.variables if id(v) not in others]

    def compile(self, optimizer="adam", metrics=None, weighted_metrics=None, **kwargs):
        """Keras's `compile` without `loss`: the heads define their losses.

        `metrics` are weighted metrics here, so that what is not labeled does not count.
        """
        if metrics is not None and weighted_metrics is not None:
            raise ValueError("compile: expected metrics or weighted_metrics, got both; here they mean the same.")
        asked = metrics if weighted_metrics is None else weighted_metrics
        for name, head in self.heads.items():
            if asked and "boxes" in head.fields and (self.single or not isinstance(asked, dict) or name in asked):
                raise ValueError(
                    f"metrics: Keras's metrics compare two tensors, but head {name!r} predicts boxes, scores and "
                    "classes. Leave them out, and use visiontasks.score(model, loader)."
                )
        for name in ("loss", "loss_weights"):
            if kwargs.get(name) is not None:
                raise ValueError(f"compile: got {name}; losses come from the heads. Give VisionModel(loss_weights=…).")
        super().compile(optimizer=optimizer, weighted_metrics=asked, **kwargs)
        self._has_metrics = bool(asked)

    def compile_from_config(self, config):
        _import_classes(config)  # a schedule of ours in the optimizer
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{key: value for key, value in config.items() if value is not None})
        self.optimizer.build(self.trainable_variables)

    def get_config(self):
        heads = {name: keras.saving.serialize_keras_object(head) for name, head in self.heads.items()}
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "head": self._bare(heads),
            "loss_weights": self.loss_weights,
            "preprocess": self.preprocess and Preprocess(**self.preprocess).get_config(),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)

        def revive(part):
            _import_classes(part)
            return keras.saving.deserialize_keras_object(part, custom_objects=custom_objects)

        head = config["head"]
        config["head"] = revive(head) if "class_name" in head else {name: revive(part) for name, part in head.items()}
        with deep_recursion():
            config["backbone"] = revive(config["backbone"])
        return cls(**config)


def _tapped(name, head, available):
    names = head.taps(available)
    if missing := [tap for tap in names if tap not in available]:
        offered = [tap for tap in available if tap != "image"]
        raise ValueError(f"head {name!r} taps {missing}, which this backbone does not have; it has {offered}.")
    return {tap: available[tap] for tap in names}


def _stride(heads, taps) -> int:
    """The stride of the deepest level of `divisible` heads that tap several levels; 1 without such heads."""
    several = [taps[name].values() for name, head in heads.items() if head.divisible and len(taps[name]) > 1]
    return max((tap.stride or 1 for tapped in several for tap in tapped), default=1)


def _only(backbone, taps):
    """The backbone without the layers that no head needs."""
    used = keras.Model(backbone.input, {tap: backbone.output[tap] for tap in taps if tap in backbone.output})
    # finer levels on the way cost nothing, and name the layers up to which a backbone can be frozen;
    # Keras has no public way from a tensor to its layer, hence the private _keras_history
    operations = {operation.name for operation in used.operations}
    kept = {tap: x for tap, x in backbone.output.items() if x._keras_history.operation.name in operations}
    return backbone if len(kept) == len(backbone.output) else keras.Model(backbone.input, kept, name=backbone.name)


def _import_classes(config):
    """Import the modules of this package that a config names, which registers their classes for Keras."""
    if isinstance(config, dict):
        module = config.get("module")
        registered = config.get("registered_name") or ""
        if isinstance(module, str) and module.startswith("visiontasks.") and registered.startswith("visiontasks>"):
            importlib.import_module(module)
        for value in config.values():
            _import_classes(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _import_classes(value)
