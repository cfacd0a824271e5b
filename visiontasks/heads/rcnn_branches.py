"""`Branch`: the contract of the branches of an R-CNN's second stage; and `BoxBranch`, which every R-CNN has."""

import functools
import math

import keras
from keras import ops

from visiontasks.arguments import Cells, Channels, Checked, Count, Layers, MoreLayers
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.losses import detection
from visiontasks.losses.reduction import Term, over
from visiontasks.ops import boxes as box_ops
from visiontasks.ops.objects import objects
from visiontasks.ops.roi_align import roi_align

VARIANCES = (0.1, 0.1, 0.2, 0.2)
EIGHTHS = (1, 2, 3, 4, 6, 8)  # of all boxes of a batch: the numbers that are computed
FEWEST = 12  # boxes an image from one of these numbers to the next: each is a graph of its own
BETA = 1 / 9  # where the box loss becomes linear, as in torchvision and Detectron
SMALLEST = 0.01  # minimum width and height of a final box in pixels


class Branch(Checked, keras.layers.Layer):
    """A layer of an R-CNN's second stage with its own output for each box. Abstract: a subclass implements all below.

    `RCNN` adds those that its arguments name. A subclass adds its own in its constructor, which gives the head the
    branch's fields, loss terms and predictions:

        class AttributeRCNN(RCNN):
            fields = (*RCNN.fields, *AttributeBranch.fields)  # for recipes, which are read without importing Keras

            def __init__(self, classes: Classes, attributes: Count, **kwargs):
                super().__init__(classes, **kwargs)
                self.add_branch(AttributeBranch(attributes, name="attributes", dtype=self.dtype_policy))

    It learns from the samples that may have an object, and predicts for the final boxes. These methods run in the
    graph:

    - `build(pyramid, boxes)`: creates the layers for the shapes of the inputs of `call`.
    - `call(pyramid, boxes, classes, training)`: to raw outputs (B, N, …). `pyramid` is {level number: features
      (B, H, W, C)} in the head's compute dtype; see `ops.roi_align`. `boxes` are (B, N, 4) in pixels, float32 whatever
      the policy, and int32 `classes` (B, N) theirs: -1 for background and padding, which come last and whose outputs
      have no meaning. Layers inside cast their inputs and weights; a weight of the branch's own is not cast.
    - `learned(pyramid, boxes, classes, training)`: to the raw outputs that `compute_losses` takes; by default `call`'s.
    - `compute_losses(outputs, samples, targets)`: to {term: Term(total, count)}, one for each name in `loss_terms`.
      `targets` are the head's, by field name. `samples` are `boxes` float32 (B, N, 4), those with an object first;
      `valid` bool (B, N), false for padding; `labels` int32 (B, N), 0 background, class + 1 for an object; `matches`
      int32 (B, N), the index of the ground-truth box, or negative; and `targets` float32 (B, N, 4), that box.
    - `decode(outputs, detections)`: to predictions {name: (B, D, …)}; `detections` are the final `boxes`, `scores`,
      `classes` and `valid`.
    - `choose(pyramid, choice, number)` and `score(pyramid, choice)`, if it `explains` something: as a Head's, for the
      box (B, 4) and the class, `number`, of a choice.

    Attributes:
        fields: the Sample fields that it learns from, besides the boxes and classes.
        loss_terms: the names of the terms that `compute_losses` returns.
        explains: the kind of what `choose` gives, mask or joint; "": it has none.
    """

    explains = ""
    fields: tuple[str, ...] = ()
    loss_terms: tuple[str, ...]

    def __init__(self, **kwargs):
        # Keras would cast the boxes, too, to half precision: 901.3 is 900 in bfloat16
        super().__init__(autocast=False, **kwargs)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(package=cls.__module__.partition(".")[0])(cls)

    def call(self, pyramid: dict, boxes, classes, training=None):
        raise NotImplementedError(f"{type(self).__name__} computes no outputs.")

    def learned(self, pyramid: dict, boxes, classes, training=None):
        """Raw outputs for `compute_losses`, of a training or validation step; those of `call` are for `decode`."""
        return self(pyramid, boxes, classes, training=training)

    def compute_losses(self, outputs, samples: dict, targets: dict) -> dict[str, Term]:
        """{term: Term(total, count)} for a batch of samples."""
        raise NotImplementedError(f"{type(self).__name__} computes no losses.")

    def decode(self, outputs, detections: dict) -> dict:
        """Raw outputs for the final boxes to predictions: {name: tensor (B, D, …)}."""
        raise NotImplementedError(f"{type(self).__name__} decodes nothing.")


class ObjectBranch(Branch):
    """A branch that looks at objects alone: for padding and background its outputs are zeros, and cost little.

    Abstract: a subclass implements `outputs_of`, which computes raw outputs of R boxes, those of all images of a batch:
    `pyramid` as for `call`, `boxes` (R, 4), int32 `images` (R,), the row of the batch that each box belongs to, and
    int32 `classes` (R,), -1 for what is no object. It gives a tensor, or a nest of them, whose first axis is R.

    Attributes:
        norms: the batch normalizations, if it has some.
    """

    norms: list = []

    def outputs_of(self, training, learns, pyramid, boxes, images, classes, *more):
        raise NotImplementedError(f"{type(self).__name__} computes no outputs.")

    def call(self, pyramid, boxes, classes, training=None, learns=False):
        """`learns`: the outputs are for `compute_losses`, not for `decode`."""
        count, classes = boxes.shape[1], ops.reshape(classes, (-1,))
        total, real = ops.shape(classes)[0], classes >= 0
        # most batches have few real boxes: they come first, and the smallest number that holds them is computed
        eighths = [8] if self.norms else eighths_of(count)  # JAX cannot update moving statistics inside a condition
        sizes = [-(-total * number // 8) for number in eighths]
        rows = ops.arange(total, dtype="int32")
        order = ops.argsort(ops.where(real, rows, rows + total))
        boxes, classes = (ops.take(x, order, axis=0) for x in (ops.reshape(boxes, (-1, 4)), classes))
        inputs = pyramid, boxes, order // count, classes, *self.per_box(total, training, learns)
        needed = ops.sum(ops.cast(real, "int32"))
        number = sum((ops.cast(needed > size, "int32") for size in sizes[:-1]), ops.zeros((), "int32"))
        of_size = [functools.partial(self._first, size, training, learns) for size in sizes]
        outputs = ops.switch(number, of_size, *inputs) if len(sizes) > 1 else of_size[0](*inputs)
        rows = ops.argsort(order)

        def of_images(x):
            # TensorFlow's gradient of `take` is sparse; through a reshape it is dense, as XLA needs it in a condition
            flat = ops.reshape(x, (-1, math.prod(x.shape[1:])))
            return ops.reshape(ops.take(flat, rows, axis=0), (-1, count, *x.shape[1:]))

        return keras.tree.map_structure(of_images, outputs)

    def per_box(self, count, training, learns) -> tuple:
        """More that `outputs_of` takes, with a row for each of `count` boxes: what no condition may compute."""
        return ()

    def _first(self, size, training, learns, pyramid, *inputs):
        """The outputs of the first `size` boxes of a batch, and zeros for the others."""
        padding = ops.shape(inputs[0])[0] - size
        outputs = self.outputs_of(training, learns, pyramid, *(x[:size] for x in inputs))
        return keras.tree.map_structure(lambda x: ops.pad(x, [[0, padding], *[[0, 0]] * (len(x.shape) - 1)]), outputs)


def eighths_of(count: int) -> list[int]:
    """Those of EIGHTHS that are computed of `count` boxes an image: at least FEWEST apart, and the whole."""
    kept = [8]
    for number in reversed(EIGHTHS):
        if count * min(number, kept[0] - number) >= 8 * FEWEST:
            kept.insert(0, number)
    return kept


def conv_stack(count: int, filters: int, batch_norm: bool, dtype) -> tuple[list, list]:
    """3×3 convolutions "conv1" and so on, and their batch normalizations "bn1" and so on or none: for `apply_stack`."""
    # He et al. 2015, https://arxiv.org/abs/1502.01852, section 2.2, by the number of outputs
    spread = keras.initializers.VarianceScaling
    convs = [
        keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=not batch_norm,
            kernel_initializer=spread(2.0, "fan_out", "untruncated_normal"),
            name=f"conv{number}",
            dtype=dtype,
        )
        for number in range(1, count + 1)
    ]
    numbers = range(1, count + 1) if batch_norm else ()
    return convs, [BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"bn{n}", dtype=dtype) for n in numbers]


def build_stack(convs: list, norms: list, shape: tuple) -> tuple:
    """Build what `conv_stack` made for inputs of a shape (B, H, W, C); the shape of the output."""
    for number, conv in enumerate(convs):
        conv.build(shape)
        shape = (*shape[:-1], conv.filters)
        if norms:
            norms[number].build(shape)
    return shape


def apply_stack(convs: list, norms: list, x, valid, training):
    """Convolve, normalize and rectify features of boxes, (B · N, S, S, C); statistics are of the `valid` (B, N)."""
    mask = None
    if norms and valid is not None:
        # without any, all: statistics of nothing would be zeros
        valid = ops.logical_or(valid, ops.logical_not(ops.any(valid)))
        mask = ops.broadcast_to(ops.reshape(valid, (-1, 1, 1)), ops.shape(x)[:-1])
    for number, conv in enumerate(convs):
        x = conv(x)
        x = ops.relu(norms[number](x, training=training, mask=mask) if norms else x)
    return x


class BoxBranch(Branch):
    """The class and the refined position of each box: Fast R-CNN on a pyramid.

    Girshick 2015, https://arxiv.org/abs/1504.08083, section 2; two dense layers over a grid of features as in Lin et
    al. 2017, https://arxiv.org/abs/1612.03144, section 4.2. Raw outputs are {"classes": logits (B, N, C + 1),
    background first, "boxes": (B, N, C + 1, 4), deltas from the box, separate for each class}. It learns from all
    samples. It has no `decode`: `candidates` gives the boxes that the final ones are chosen from.

    Args:
        classes: number of classes, C.
        bins: features per row and column of a box.
        bin_samples: points per row and column of a bin.
        units: of each dense layer.
        dense_layers: number of dense layers before the last.
        layers: number of 3×3 convolutions before these, of as many filters as the pyramid.
        batch_norm: normalize after each of the convolutions, which then have no bias.
    """

    loss_terms = ("classification", "localization")

    def __init__(
        self,
        classes: Count,
        bins: Cells,
        bin_samples: Cells,
        units: Channels,
        dense_layers: Layers = 2,
        layers: MoreLayers = 0,
        batch_norm: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.columns, self.bins, self.bin_samples = classes + 1, bins, bin_samples
        self.layers, self.batch_norm = layers, batch_norm

        def dense(name, count, **arguments):
            return keras.layers.Dense(count, name=name, **arguments)

        names = [f"fc{number}" for number in range(6, 6 + dense_layers)]  # as in VGG, where two of these come from
        self.hidden = [dense(name, units, activation="relu", dtype=self.dtype_policy) for name in names]
        # Gaussian as in section 2.3; float32 whatever the policy, because exponentials of the outputs follow
        normal = keras.initializers.RandomNormal
        self.class_scores = dense("classes", self.columns, kernel_initializer=normal(stddev=0.01), dtype="float32")
        self.boxes = dense("boxes", self.columns * 4, kernel_initializer=normal(stddev=0.001), dtype="float32")

    def build(self, pyramid_shape, boxes_shape):
        (channels,) = {shape[-1] for shape in pyramid_shape.values()}
        self.convs, self.norms = conv_stack(self.layers, channels, self.batch_norm, self.dtype_policy)
        build_stack(self.convs, self.norms, (None, self.bins, self.bins, channels))
        shape = (None, None, self.bins**2 * channels)
        for layer in self.hidden:
            layer.build(shape)
            shape = (None, None, layer.units)
        self.class_scores.build(shape)
        self.boxes.build(shape)

    def call(self, pyramid, boxes, valid=None, training=None):
        """Raw outputs; `valid`, bool (B, N), is false for padding, which no statistics should count."""
        features = roi_align(pyramid, boxes, self.bins, self.bin_samples)
        count = boxes.shape[1]
        if self.convs:
            features = ops.reshape(features, (-1, *features.shape[2:]))
            features = apply_stack(self.convs, self.norms, features, valid, training)
        x = ops.reshape(features, (-1, count, self.bins**2 * features.shape[-1]))
        for layer in self.hidden:
            x = layer(x)
        return {"classes": self.class_scores(x), "boxes": ops.reshape(self.boxes(x), (-1, count, self.columns, 4))}

    def compute_losses(self, outputs, samples, targets):
        labels, valid = samples["labels"], samples["valid"]
        known = objects(targets, self.columns - 1).known
        entropy = detection.marginal_cross_entropy(labels, outputs["classes"], known)
        deltas = ops.take_along_axis(outputs["boxes"], ops.reshape(labels, (-1, labels.shape[1], 1, 1)), axis=2)
        target_deltas = box_ops.encode(samples["targets"], samples["boxes"], VARIANCES)
        distance = ops.sum(detection.smooth_l1(target_deltas, ops.squeeze(deltas, 2), BETA), axis=-1)
        classification = over(entropy, valid)
        return {
            "classification": classification,
            "localization": Term(ops.sum(ops.where(labels > 0, distance, 0.0)), classification.count),
        }

    def candidates(self, outputs, proposals) -> dict:
        """The candidates, one per proposal and class: `boxes` (B, K, 4) in pixels, `scores` and int32 `classes` (B, K).

        Args:
            outputs: of `call` for the proposals.
            proposals: `boxes` (B, P, 4); `valid` bool (B, P), false for padding; `size` (B, 2), the image's height and
                width.
        """
        classes, count = self.columns - 1, proposals["boxes"].shape[1]
        predicted = box_ops.decode(outputs["boxes"][:, :, 1:], ops.expand_dims(proposals["boxes"], 2), VARIANCES)
        predicted = box_ops.clip(ops.reshape(predicted, (-1, count * classes, 4)), proposals["size"])
        scores = ops.softmax(outputs["classes"], axis=-1)[..., 1:]
        scores = ops.where(ops.expand_dims(proposals["valid"], -1), scores, 0.0)
        scores = ops.reshape(scores, (-1, count * classes))
        numbers = ops.tile(ops.arange(classes, dtype="int32"), (count,))
        return {
            "boxes": predicted,
            "scores": ops.where(box_ops.at_least(predicted, SMALLEST), scores, 0.0),
            "classes": ops.broadcast_to(ops.expand_dims(numbers, 0), ops.shape(scores)),
        }
