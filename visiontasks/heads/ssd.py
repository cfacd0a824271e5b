"""Single-shot detection: default boxes at every cell of several levels, each classified and refined."""

import itertools
from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import (
    ChannelCounts,
    Classes,
    Count,
    Levels,
    NonNegative,
    Positive,
    Positives,
    Share,
)
from visiontasks.heads.detection import DetectionHead, by_anchor, for_each, image_size
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.layers.l2_normalization import L2Normalization
from visiontasks.losses import detection
from visiontasks.losses.reduction import Term
from visiontasks.ops import anchors, boxes, matching, nms
from visiontasks.ops.objects import objects
from visiontasks.taps import levels_among

VARIANCES = (0.1, 0.1, 0.2, 0.2)
MOMENTUM = 0.97  # of the batch norms: Keras's 0.99 is too slow for a training of a few hundred steps
# box sizes of the first and last level, and the one after, as shares of the image: the authors' for COCO, whose objects
# are small (the paper's section 3.4); between them in equal ratios, as strides grow
FIRST, LAST, BEYOND = 0.07, 0.87, 1.05


class _Extra(keras.layers.Layer):
    """An added level: 1×1 to half of the channels, 3×3 to all; `half` has stride two, `trim` drops the border.

    `last` is SSD512's: a 4×4 convolution with a border of one pixel, which leaves one cell of four.
    """

    def __init__(self, filters, kind, batch_norm, **kwargs):
        super().__init__(**kwargs)
        half = {"dtype": self.dtype_policy}
        strides = 2 if kind == "half" else 1
        self.steps = [keras.layers.Conv2D(filters // 2, 1, use_bias=not batch_norm, name="reduce", **half)]
        self.steps += _norm_and_relu(batch_norm, "reduce_norm", **half)
        if kind != "trim":
            # pad all borders equally, as in the paper; Keras's "same" pads an even size at one border only
            self.steps.append(keras.layers.ZeroPadding2D(1, **half))
        kernel = 4 if kind == "last" else 3
        self.steps.append(keras.layers.Conv2D(filters, kernel, strides, use_bias=not batch_norm, name="conv", **half))
        self.steps += _norm_and_relu(batch_norm, "conv_norm", **half)

    @property
    def convolutions_with_norms(self):
        return [pair for pair in itertools.pairwise(self.steps) if isinstance(pair[1], BatchNormalization)]

    def build(self, shape):
        for layer in self.steps:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def compute_output_shape(self, shape):
        for layer in self.steps:
            shape = layer.compute_output_shape(shape)
        return shape

    def call(self, x, training=None):
        for layer in self.steps:
            x = layer(x, training=training) if isinstance(layer, keras.layers.BatchNormalization) else layer(x)
        return x


def _norm_and_relu(batch_norm, name, **half):
    norm = [BatchNormalization(momentum=MOMENTUM, name=name, **half)] if batch_norm else []
    return [*norm, keras.layers.ReLU(**half)]


class SSD(DetectionHead):
    """Object detection with default boxes on several levels: the single shot multibox detector.

    Liu et al. 2016, https://arxiv.org/abs/1512.02325. Works on any backbone; halved levels are added to its levels. The
    paper's network is vgg16 with `ceil_pooling` at 300×300, with levels [C3, C4], atrous, no batch_norm, extra
    [half, half, trim, trim], scales [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05] and steps [8, 16, 32, 64, 100, 300].

    An image without objects adds nothing to the loss, because background is learned in proportion to objects. If a
    class is not known, background means background or that class. A default box without an object and with half of its
    area in an ignored region learns nothing.

    Raw outputs are {"boxes": float32 (B, A, 4), deltas from the anchors, "classes": float32 logits (B, A, C + 1),
    background first, "anchors": float32 (B, A, 4) in pixels, "size"}.

    Args:
        classes: names of the classes, or their number, without background.
        levels: the backbone's levels; by default those of stride 8 to 32, or the nearest.
        extra: levels to add, each from the previous one: half (stride 2), trim (without border) or last (2×2 to 1).
        extra_filters: filters of each added level; by default the paper's: 512 for the first, then 256.
        batch_norm: add batch norms after the levels and in the added ones. The paper's network has none, but levels of
            a backbone with batch norms can have such large values that the predictors' first outputs are useless.
        atrous: the paper's changes to VGG: scale the first level's features, and apply to the last level the dilated
            convolutions that replace VGG's first dense layers.
        aspect_ratios: of each level, above 1; by default 2, and also 3 except at the first and the last two levels.
        scales: box sizes of each level as shares of the image's, and one more; by default from 0.07 to 0.87 in equal
            ratios, and 1.05.
        steps: pixels between cells at each level; by default the image's size divided by the level's.
        overlap: minimum IoU of a default box with the object it learns; each object's best box always learns it.
        negatives: default boxes that learn background for each one with an object: the hardest ones.
        score_threshold: boxes with a lower score are removed.
        iou_threshold: a box with a higher IoU with a better one of its class is removed.
        candidates: the number of best boxes per class that are considered.
        detections: maximum boxes per image, D.

    Raises:
        ValueError: an argument is out of bounds, or the number of filters, scales, aspect ratios or steps does not fit
            the levels.
    """

    loss_terms = ("classification", "localization")
    divisible = False  # any number of cells: 300 pixels have 38 at stride 8

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        extra: tuple[Literal["half", "trim", "last"], ...] = ("half", "half", "half"),
        extra_filters: ChannelCounts | None = None,
        batch_norm: bool = True,
        atrous: bool = False,
        aspect_ratios: tuple[tuple[Positive, ...], ...] | None = None,
        scales: Positives | None = None,
        steps: Positives | None = None,
        overlap: Share = 0.5,
        negatives: NonNegative = 3.0,
        score_threshold: Share = 0.01,
        iou_threshold: Share = 0.45,
        candidates: Count = 400,
        detections: Count = 200,
        **kwargs,
    ):
        super().__init__(classes, levels, score_threshold, iou_threshold, detections, **kwargs)
        if extra_filters and len(extra_filters) != len(extra):
            raise ValueError(f"extra_filters: expected {len(extra)}, one for each of extra; got {extra_filters}.")
        self.extra, self.extra_filters, self.atrous, self.batch_norm = extra, extra_filters, atrous, batch_norm
        self.aspect_ratios, self.scales, self.steps = aspect_ratios, scales, steps
        self.overlap, self.negatives, self.candidates = overlap, negatives, candidates

    def usual_levels(self, available):
        levels = levels_among(available, self.name)
        return [tap for tap in levels if 8 <= tap.stride <= 32] or levels[-1:]

    def build(self, taps):
        super().build(taps)
        half = {"dtype": self.dtype_policy}
        shapes = [tap.shape for tap in self.tapped]
        if self.atrous:
            self.scale = L2Normalization(20.0, name="scale", **half)
            self.scale.build(shapes[0])
            relu = {"padding": "same", "activation": "relu", **half}
            self.deep = [
                keras.layers.MaxPooling2D(3, 1, padding="same", name="pool5", **half),
                keras.layers.Conv2D(1024, 3, dilation_rate=6, name="fc6", **relu),
                keras.layers.Conv2D(1024, 1, name="fc7", **relu),
            ]
            for layer in self.deep:
                layer.build(shapes[-1])
                shapes[-1] = layer.compute_output_shape(shapes[-1])
        self.norms = []
        for i, shape in enumerate(shapes if self.batch_norm else ()):
            self.norms.append(BatchNormalization(momentum=MOMENTUM, name=f"norm{i}", **half))
            self.norms[-1].build(shape)
        self.extras = []
        filters = self.extra_filters or (512, *(256,) * len(self.extra))[: len(self.extra)]
        for i, (kind, count) in enumerate(zip(self.extra, filters, strict=True)):
            self.extras.append(_Extra(count, kind, self.batch_norm, name=f"extra{i + 1}", **half))
            self.extras[-1].build(shapes[-1])
            shapes.append(self.extras[-1].compute_output_shape(shapes[-1]))
        self._layout(len(shapes))
        self._check_steps(shapes, taps["image"].size)
        self.class_convs, self.box_convs = [], []
        for i, (shape, number) in enumerate(zip(shapes, anchors.number_of_default_boxes(self._ratios), strict=True)):
            for convs, columns, what in (
                (self.class_convs, len(self.classes) + 1, "classes"),
                (self.box_convs, 4, "boxes"),
            ):
                # float32 whatever the policy: exponentials of the outputs follow
                convs.append(
                    keras.layers.Conv2D(number * columns, 3, padding="same", dtype="float32", name=f"{what}{i}")
                )
                convs[-1].build(shape)

    def _layout(self, count):
        """Set the default boxes' shapes for a number of levels."""
        ends = {0, count - 2, count - 1}
        self._ratios = self.aspect_ratios or tuple((2,) if i in ends else (2, 3) for i in range(count))
        ratio = (LAST / FIRST) ** (1 / max(1, count - 1))
        self._scales = self.scales or (*(FIRST * ratio**i for i in range(count)), BEYOND)
        for what, given, expected in (
            ("aspect_ratios", self._ratios, count),
            ("scales", self._scales, count + 1),
            ("steps", self.steps or (None,) * count, count),
        ):
            if len(given) != expected:
                raise ValueError(f"{what}: expected {expected} for {count} levels, got {len(given)}.")

    def _check_steps(self, shapes, size):
        """Raise if `steps` belong to another image size: boxes would lie beside the image."""
        for step, shape in zip(self.steps or (), shapes, strict=False):
            for cells, length in zip(shape[1:3], size, strict=True):
                if cells is not None and length is not None and abs(step * cells - length) >= step:
                    raise ValueError(
                        f"steps: expected the pixels between cells, about {length / cells:.0f} for {cells} "
                        f"cells of an image of {length}; got {step}, for another size. Leave steps out."
                    )

    def call(self, features, training=None):
        maps = [features[tap.name] for tap in self.tapped]
        if self.atrous:
            maps[0] = self.scale(maps[0])
            for layer in self.deep:
                maps[-1] = layer(maps[-1])
        for i, norm in enumerate(self.norms):
            maps[i] = norm(maps[i], training=training)
        for extra in self.extras:
            maps.append(extra(maps[-1], training=training))
        size = image_size(features, "ssd")
        self._check_steps([x.shape for x in maps], size)
        grids = [tuple(x.shape[1:3]) for x in maps]
        default_boxes = anchors.default_boxes(grids, size, self._scales, self._ratios, self.steps)
        batch = ops.shape(maps[0])[0]
        return {
            "boxes": _predict(maps, self.box_convs, 4),
            "classes": _predict(maps, self.class_convs, len(self.classes) + 1),
            "anchors": for_each(default_boxes, batch),
            "size": for_each(size, batch),
        }

    def compute_losses(self, targets, outputs, training=True):
        target, default_boxes = objects(targets, len(self.classes)), outputs["anchors"]
        matches = matching.bipartite(boxes.iou(target.boxes, default_boxes), target.valid, self.overlap)
        matches = matching.ignore(matches, target.boxes, target.ignored, default_boxes)
        positive = matches > matching.BACKGROUND
        labels = ops.where(positive, matching.take(target.classes, matches) + 1, 0)
        entropy = detection.marginal_cross_entropy(labels, outputs["classes"], target.known)
        wanted = self.negatives * ops.sum(ops.cast(positive, "float32"), axis=-1)
        negative = detection.hardest(entropy, matches == matching.BACKGROUND, wanted)
        learned = ops.logical_or(positive, negative)
        target_deltas = boxes.encode(matching.take(target.boxes, matches), default_boxes, VARIANCES)
        distance = ops.sum(detection.smooth_l1(target_deltas, outputs["boxes"]), axis=-1)
        count = ops.sum(ops.cast(positive, "float32"))
        return {
            "classification": Term(ops.sum(ops.where(learned, entropy, 0.0)), count),
            "localization": Term(ops.sum(ops.where(positive, distance, 0.0)), count),
        }

    def scored(self, outputs):
        scores = ops.softmax(outputs["classes"], axis=-1)[..., 1:]
        scores, rows, classes = nms.best_of_each_class(scores, self.candidates)
        deltas, default_boxes = (nms.gather(outputs[key], rows) for key in ("boxes", "anchors"))
        return boxes.decode(deltas, default_boxes, VARIANCES), scores, classes

    def every_box(self, outputs):
        scores = ops.softmax(outputs["classes"], axis=-1)[..., 1:]
        return boxes.decode(outputs["boxes"], outputs["anchors"], VARIANCES), outputs["classes"][..., 1:], scores


def _predict(maps, convs, columns):
    """The outputs of all levels: (B, A, columns)."""
    return ops.concatenate([by_anchor(conv(x), columns) for x, conv in zip(maps, convs, strict=True)], axis=1)
