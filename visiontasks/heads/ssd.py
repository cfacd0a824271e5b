"""Single-shot detection: default boxes at every cell of several levels, each classified and moved."""

from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import Classes, Count, Counts, Levels, NonNegative, Positive, Positives, Share
from visiontasks.heads.head import Head, for_each, levels_among, picture_size
from visiontasks.layers.l2_normalization import L2Normalization
from visiontasks.losses import detection
from visiontasks.losses.reduction import Term
from visiontasks.ops import anchors, boxes, matching, nms
from visiontasks.ops.objects import objects

VARIANCES = (0.1, 0.1, 0.2, 0.2)
MOMENTUM = 0.97  # of batch norms' averages: Keras's own 0.99 lags behind a training of a few hundred steps
# sides of the squares of the first and the last level, and beyond, as shares of the picture's: the authors' for COCO,
# whose objects are small (the paper's section 3.4); between them in equal ratios, as strides grow
FIRST, LAST, BEYOND = 0.07, 0.87, 1.05


class _Extra(keras.layers.Layer):
    """A level more: 1×1 to half of the channels, 3×3 to all; `half` strides by two, `trim` drops the border.

    `last` is SSD512's: 4×4 and a border of one pixel, which leaves one cell of four.
    """

    def __init__(self, filters, kind, batch_norm, **kwargs):
        super().__init__(**kwargs)
        half = {"dtype": self.dtype_policy}
        strides = 2 if kind == "half" else 1
        self.steps = [keras.layers.Conv2D(filters // 2, 1, use_bias=not batch_norm, name="reduce", **half)]
        self.steps += _norm_and_relu(batch_norm, "reduce_norm", **half)
        if kind != "trim":
            # padded on both sides, as in the paper, whatever the size is: Keras's "same" pads an even side on one alone
            self.steps.append(keras.layers.ZeroPadding2D(1, **half))
        side = 4 if kind == "last" else 3
        self.steps.append(keras.layers.Conv2D(filters, side, strides, use_bias=not batch_norm, name="conv", **half))
        self.steps += _norm_and_relu(batch_norm, "conv_norm", **half)

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
    norm = [keras.layers.BatchNormalization(momentum=MOMENTUM, name=name, **half)] if batch_norm else []
    return [*norm, keras.layers.ReLU(**half)]


class SSD(Head):
    """Boxes and their classes by default boxes on several levels: the single shot multibox detector.

    Liu et al. 2016, https://arxiv.org/abs/1512.02325. On any backbone, to whose levels halved ones are added; the
    paper's own network is vgg16 with `ceil_pooling`, and here levels [C3, C4], atrous, no batch_norm, extra
    [half, half, trim, trim], scales [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05] and steps [8, 16, 32, 64, 100, 300], at
    300×300.

    Learns from `boxes`, float (B, G, 4) in pixels, `classes`, int (B, G), -1 = no object, and where there are `known`
    and `ignored` (ops/objects.py). An image without objects adds nothing to the loss, since background is learned in
    proportion to objects. Where a class is not known, background means background or that class; a default box with
    half its area in an ignored region, and no object, learns nothing.

    Raw outputs are {"boxes": float32 (B, A, 4), differences from the anchors, "classes": float32 logits (B, A, C + 1),
    the first of the background, "anchors": float32 (B, A, 4) in pixels, "size": float32 (B, 2), the picture's height
    and width}. They decode to `boxes` float32 (B, D, 4) in pixels, `scores` float32 (B, D), `classes` int32 (B, D) and
    `valid` bool (B, D), best first.

    Args:
        classes: names of the classes, or their number; background is none of them.
        levels: the backbone's levels to look at; by default those of stride 8 to 32, or what is nearest to that.
        extra: levels to add, each from the one before: half (stride 2), trim (the border off) or last (2×2 cells to 1).
        extra_filters: filters of each added level; by default the paper's: 512, and 256 from the second on.
        batch_norm: batch norms behind the levels and in the added ones; the paper's network has none, but a level of a
            backbone with batch norms may come with values so large that the predictors' first answers are absurd.
        atrous: the paper's changes to VGG: the first level's features scaled, the last one's seen through dilated
            convolutions that stand for VGG's first dense layers.
        aspect_ratios: of each level, above 1; by default 2, and 3 too except at the first and the last two levels.
        scales: sides of each level's squares as shares of the picture's, and one more; by default from 0.07 to 0.87
            in equal ratios, and 1.05.
        steps: pixels from cell to cell at each level; by default the picture's side divided by the level's.
        overlap: the least IoU of a default box with a true one that it learns from, beside the best of each.
        negatives: default boxes that learn the background for each that learns a class: the hardest ones.
        score_threshold: a box of a lower score is not given.
        iou_threshold: a box that overlaps a better one of its class more is not given.
        candidates: boxes of each class that are considered, the best.
        detections: boxes given for a picture, D.

    Raises:
        ValueError: an argument does not fit, such as filters, scales, aspect ratios or steps of another number than
            the levels.
    """

    task = "detection"
    fields = ("classes", "boxes")
    loss_terms = ("classification", "localization")
    divisible = False  # cells of any number: 300 has 38 at stride 8

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        extra: tuple[Literal["half", "trim", "last"], ...] = ("half", "half", "half"),
        extra_filters: Counts | None = None,
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
        super().__init__(classes, **kwargs)
        if extra_filters and len(extra_filters) != len(extra):
            raise ValueError(f"extra_filters: expected {len(extra)}, one for each of extra; got {extra_filters}.")
        self.levels, self.extra, self.extra_filters = levels, extra, extra_filters
        self.atrous, self.batch_norm = atrous, batch_norm
        self.aspect_ratios, self.scales, self.steps = aspect_ratios, scales, steps
        self.overlap, self.negatives = overlap, negatives
        self.score_threshold, self.iou_threshold = score_threshold, iou_threshold
        self.candidates, self.detections = candidates, detections

    def taps(self, available):
        if self.levels:
            return (*sorted(self.levels), "image")
        levels = levels_among(available, "ssd")
        wanted = [level for level in levels if 3 <= int(level[1:]) <= 5]
        return (*(wanted or levels[-1:]), "image")

    def build(self, features_shape):
        half = {"dtype": self.dtype_policy}
        levels = sorted(set(features_shape) - {"image"})
        shapes = [features_shape[level] for level in levels]
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
            self.norms.append(keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"norm{i}", **half))
            self.norms[-1].build(shape)
        self.extras = []
        filters = self.extra_filters or (512, *(256,) * len(self.extra))[: len(self.extra)]
        for i, (kind, count) in enumerate(zip(self.extra, filters, strict=True)):
            self.extras.append(_Extra(count, kind, self.batch_norm, name=f"extra{i + 1}", **half))
            self.extras[-1].build(shapes[-1])
            shapes.append(self.extras[-1].compute_output_shape(shapes[-1]))
        self._layout(len(shapes))
        self._check_steps(shapes, features_shape["image"][1:3])
        self.class_convs, self.box_convs = [], []
        for i, (shape, number) in enumerate(zip(shapes, anchors.number_of_default_boxes(self._ratios), strict=True)):
            for convs, columns, what in (
                (self.class_convs, len(self.classes) + 1, "classes"),
                (self.box_convs, 4, "boxes"),
            ):
                # float32 whatever the policy: what comes out goes into exponentials
                convs.append(
                    keras.layers.Conv2D(number * columns, 3, padding="same", dtype="float32", name=f"{what}{i}")
                )
                convs[-1].build(shape)

    def _layout(self, count):
        """The default boxes' shapes for a number of levels."""
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
        """Raise where the steps given are for pictures of another size: boxes would lie beside the picture."""
        for step, shape in zip(self.steps or (), shapes, strict=False):
            for cells, side in zip(shape[1:3], size, strict=True):
                if cells is not None and side is not None and abs(step * cells - side) >= step:
                    raise ValueError(
                        f"steps: expected the pixels from one cell to the next, about {side / cells:.0f} for {cells} "
                        f"cells of a picture of {side}; got {step}, for another size. Leave head.steps out."
                    )

    def call(self, features, training=None):
        levels = sorted(set(features) - {"image"})
        maps = [features[level] for level in levels]
        if self.atrous:
            maps[0] = self.scale(maps[0])
            for layer in self.deep:
                maps[-1] = layer(maps[-1])
        for i, norm in enumerate(self.norms):
            maps[i] = norm(maps[i], training=training)
        for extra in self.extras:
            maps.append(extra(maps[-1], training=training))
        size = picture_size(features, "ssd")
        self._check_steps([x.shape for x in maps], size)
        grids = [tuple(x.shape[1:3]) for x in maps]
        places = anchors.default_boxes(grids, size, self._scales, self._ratios, self.steps)
        batch = ops.shape(maps[0])[0]
        return {
            "boxes": _rows(maps, self.box_convs, 4),
            "classes": _rows(maps, self.class_convs, len(self.classes) + 1),
            "anchors": for_each(places, batch),
            "size": for_each(size, batch),
        }

    def compute_losses(self, targets, outputs, training=True):
        truth, places = objects(targets, len(self.classes)), outputs["anchors"]
        matches = matching.bipartite(boxes.iou(truth.boxes, places), truth.valid, self.overlap)
        matches = matching.ignore(matches, truth.boxes, truth.ignored, places)
        positive = matches > matching.BACKGROUND
        labels = ops.where(positive, matching.take(truth.classes, matches) + 1, 0)
        entropy = detection.marginal_cross_entropy(labels, outputs["classes"], truth.known)
        wanted = self.negatives * ops.sum(ops.cast(positive, "float32"), axis=-1)
        negative = detection.hardest(entropy, matches == matching.BACKGROUND, wanted)
        learnt = ops.logical_or(positive, negative)
        differences = boxes.encode(matching.take(truth.boxes, matches), places, VARIANCES)
        distance = ops.sum(detection.smooth_l1(differences, outputs["boxes"]), axis=-1)
        count = ops.sum(ops.cast(positive, "float32"))
        return {
            "classification": Term(ops.sum(ops.where(learnt, entropy, 0.0)), count),
            "localization": Term(ops.sum(ops.where(positive, distance, 0.0)), count),
        }

    def decode(self, outputs):
        found = boxes.decode(outputs["boxes"], outputs["anchors"], VARIANCES)
        return nms.detections(
            boxes.clip(found, outputs["size"]),
            ops.softmax(outputs["classes"], axis=-1)[..., 1:],
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            candidates=self.candidates,
            count=self.detections,
        )


def _rows(maps, convs, columns):
    """The answers of all cells, level by level: (B, A, columns)."""
    found = []
    for x, conv in zip(maps, convs, strict=True):
        x = conv(x)
        found.append(ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3] // columns, columns)))
    return ops.concatenate(found, axis=1)
