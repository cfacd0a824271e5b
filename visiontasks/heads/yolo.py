"""Anchor-free YOLO: at every cell of three levels, the distances to a box's edges and the class scores."""

import math

import keras
from keras import layers, ops

from visiontasks.arguments import Classes, Count, Levels, NonNegative, Positive, Share, between
from visiontasks.heads.head import Head, by_anchor, for_each, image_size, levels_among
from visiontasks.layers import csp
from visiontasks.losses import detection
from visiontasks.losses.reduction import Term
from visiontasks.ops import anchors, assignment, boxes, matching, nms
from visiontasks.ops.objects import objects

USUAL_SIZE = 640  # image height and width assumed for the initial class scores if the size is not known
LIKELIEST = 0.1  # the highest initial class score
MOST_CLASS_FILTERS = 100
FALL = 0.5  # the decrease of the initial distance logits per stride


class YOLO(Head):
    """Object detection at every cell of several levels, without anchors: YOLO in the form of YOLOv8.

    Its components come from papers: a path aggregation neck (Liu et al. 2018, https://arxiv.org/abs/1803.01534) of
    cross stage partial blocks; separate branches for classes and boxes (Ge et al. 2021, https://arxiv.org/abs/2107.08430,
    section 2.1); for each edge of a box a distribution over whole strides (Li et al. 2020,
    https://arxiv.org/abs/2006.04388); task-aligned assignment (Feng et al. 2021, https://arxiv.org/abs/2108.07755);
    complete IoU (Zheng et al. 2020, https://arxiv.org/abs/1911.08287). On csp_darknet of the same variant it has
    YOLOv8's published layers and parameters; gains, alpha, beta, assigned and objects are also YOLOv8's (TOOD has alpha
    1 and 13 cells). The initial distances are this package's. An object that contains no cell center is learned by the
    nearest cell, unless that cell has another object: a cell has at most one.

    Learns from `boxes`, float (B, G, 4) in pixels, `classes`, int (B, G), -1 = no object, and optionally `known` and
    `ignored` (ops/objects.py). A class that is not known in an image is learned only from its objects there. A cell
    without an object learns nothing if half or more of its predicted box lies in an ignored region, because COCO's
    scoring ignores such a box.

    Raw outputs are {"distances": float32 logits (B, A, 4, bins) of the distances left, top, right, bottom in strides,
    "classes": float32 logits (B, A, C), "points": float32 (B, A, 2), the cells' centers in pixels, "strides": float32
    (B, A, 2), "size": float32 (B, 2), the image's height and width}. They decode to `boxes` float32 (B, D, 4) in
    pixels, `scores` float32 (B, D), `classes` int32 (B, D) and `valid` bool (B, D), best first.

    Args:
        classes: names of the classes, or their number.
        levels: the backbone's levels; by default the three deepest up to C5.
        size: variant of neck and branches: n, s, m, l or x, with 0.25 to 1.25 times the width and 1/3 to 1 times the
            depth.
        bins: possible distances of an edge, 0 to bins - 1 strides.
        assigned: maximum number of cells that learn an object.
        alpha, beta: exponents of score and overlap in a cell's alignment.
        box_gain, distance_gain, class_gain: factors of the terms `box`, `distance` and `classification`.
        objects: expected objects per image and level; the initial class scores are this over classes × cells.
        score_threshold: boxes with a lower score are removed.
        iou_threshold: a box with a higher IoU with a better one of its class is removed.
        agnostic: whether a better box of any class removes it.
        candidates: the number of best pairs of cell and class that are considered.
        detections: maximum boxes per image, D.

    Raises:
        ValueError: an argument does not fit; the text says what was expected.
    """

    task = "detection"
    fields = ("classes", "boxes")
    loss_terms = ("box", "distance", "classification")
    divisible = False

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        size: csp.Variant = "n",
        bins: between(2, kind=int) = 16,
        assigned: Count = 10,
        alpha: NonNegative = 0.5,
        beta: NonNegative = 6.0,
        box_gain: NonNegative = 7.5,
        distance_gain: NonNegative = 1.5,
        class_gain: NonNegative = 0.5,
        objects: Positive = 5.0,
        score_threshold: Share = 0.01,
        iou_threshold: Share = 0.7,
        agnostic: bool = False,
        candidates: Count = 3000,
        detections: Count = 300,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.levels, self.size, self.bins, self.assigned = levels, size, bins, assigned
        self.alpha, self.beta, self.objects = alpha, beta, objects
        self.box_gain, self.distance_gain, self.class_gain = box_gain, distance_gain, class_gain
        self.score_threshold, self.iou_threshold = score_threshold, iou_threshold
        self.agnostic, self.candidates, self.detections = agnostic, candidates, detections

    def taps(self, available):
        if self.levels:
            return (*sorted(self.levels), "image")
        return (*levels_among(available, "yolo", within=range(6))[-3:], "image")

    def build(self, features_shape):
        levels = sorted(set(features_shape) - {"image"})
        numbers = [int(level[1:]) for level in levels]
        steps = [2 ** (deeper - finer) for finer, deeper in zip(numbers, numbers[1:], strict=False)]
        inputs = {
            level: keras.Input(features_shape[level][1:], dtype=self.compute_dtype, name=level) for level in levels
        }
        maps = csp.path_aggregation(list(inputs.values()), steps, self.size, self.dtype_policy)
        # the widths of YOLOv8's branches: from its finest level and the number of outputs
        finest = maps[0].shape[-1]
        box_width, class_width = (
            max(4 * self.bins, finest // 4),
            max(finest, min(len(self.classes), MOST_CLASS_FILTERS)),
        )
        outputs = {"distances": {}, "classes": {}}
        for level, x in zip(levels, maps, strict=True):
            prior = min(LIKELIEST, self.objects / (len(self.classes) * _cells(features_shape[level], level)))
            start = keras.initializers.Constant(-math.log((1 - prior) / prior))
            outputs["distances"][level] = self._branch(x, box_width, 4 * self.bins, _short_distances, f"{level}_box")
            outputs["classes"][level] = self._branch(x, class_width, len(self.classes), start, f"{level}_class")
        self.network = keras.Model(inputs, outputs, name="network")

    def _branch(self, x, filters, columns, bias, name):
        for i in (1, 2):
            x = csp.convolution(x, filters, 3, f"{name}{i}", dtype=self.dtype_policy)
        # float32 whatever the policy: exponentials of the outputs follow
        return layers.Conv2D(columns, 1, bias_initializer=bias, dtype="float32", name=name)(x)

    def call(self, features, training=None):
        levels = sorted(set(features) - {"image"})
        size = image_size(features, "yolo")
        maps = self.network({level: features[level] for level in levels}, training=training)
        points, strides = anchors.anchor_points([tuple(maps["classes"][level].shape[1:3]) for level in levels], size)
        distances, classes = (
            ops.concatenate([by_anchor(maps[what][level], columns) for level in levels], axis=1)
            for what, columns in (("distances", 4 * self.bins), ("classes", len(self.classes)))
        )
        batch = ops.shape(classes)[0]
        return {
            "distances": ops.reshape(distances, (-1, len(points), 4, self.bins)),
            "classes": classes,
            "points": for_each(points, batch),
            "strides": for_each(strides, batch),
            "size": for_each(size, batch),
        }

    def _boxes(self, outputs):
        """float32 (B, A, 4) in pixels, not clipped yet: each edge at the expectation of its distribution."""
        expected = ops.sum(ops.softmax(outputs["distances"], axis=-1) * ops.arange(self.bins, dtype="float32"), axis=-1)
        return boxes.from_distances(expected * _for_edges(outputs["strides"]), outputs["points"])

    def compute_losses(self, targets, outputs, training=True):
        target = objects(targets, len(self.classes))
        predicted, points = self._boxes(outputs), outputs["points"]
        scores = ops.stop_gradient(ops.sigmoid(outputs["classes"]))
        scores = ops.take_along_axis(
            ops.swapaxes(scores, 1, 2), ops.expand_dims(ops.maximum(target.classes, 0), -1), axis=1
        )
        matches, aligned = assignment.task_aligned(
            scores,
            boxes.iou(target.boxes, ops.stop_gradient(predicted)),
            _candidates(target.boxes, points),
            target.valid,
            self.assigned,
            self.alpha,
            self.beta,
        )
        matches = matching.ignore(matches, target.boxes, target.ignored, ops.stop_gradient(predicted))
        aligned = ops.stop_gradient(aligned)
        matched_boxes = matching.take(target.boxes, matches)
        misfit = 1.0 - boxes.paired_iou(predicted, matched_boxes, "ciou")
        distance = boxes.distances(matched_boxes, points) / _for_edges(outputs["strides"])
        distance = ops.mean(detection.distribution_focal(distance, outputs["distances"]), axis=-1)
        positive = matches > matching.BACKGROUND
        labels = ops.where(positive, matching.take(target.classes, matches), -1)
        labels = ops.one_hot(labels, len(self.classes), dtype="float32")
        entropy = detection.sigmoid_cross_entropy(labels * ops.expand_dims(aligned, -1), outputs["classes"])
        entropy = detection.over_known_classes(entropy, labels, target.known, matches == matching.IGNORED)
        count = ops.sum(aligned)
        return {
            "box": Term(self.box_gain * ops.sum(ops.where(positive, misfit * aligned, 0.0)), count),
            "distance": Term(self.distance_gain * ops.sum(ops.where(positive, distance * aligned, 0.0)), count),
            "classification": Term(self.class_gain * ops.sum(entropy), count),
        }

    def decode(self, outputs):
        scores, rows, classes = nms.best_pairs(ops.sigmoid(outputs["classes"]), self.candidates)
        predicted = nms.gather(boxes.clip(self._boxes(outputs), outputs["size"]), rows)
        return nms.grouped(
            predicted,
            scores,
            classes,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            count=self.detections,
            agnostic=self.agnostic,
        )


def _short_distances(shape, dtype=None):
    """The initial logits of distances: their expectation is 1.5 strides instead of half of the longest distance.

    With the latter, objects of two or three cells begin with overlaps of some percent. These are raised to the sixth
    power, so that such objects learn nothing for hundreds of steps.
    """
    bins = shape[0] // 4
    return ops.tile(-FALL * ops.arange(bins, dtype=dtype), (4,))


def _cells(shape, level):
    """The number of cells of a level; for an unknown size, that of a usual image."""
    lengths = (length or math.ceil(USUAL_SIZE / 2 ** int(level[1:])) for length in shape[1:3])
    return math.prod(lengths)


def _candidates(target_boxes, points):
    """bool (B, G, A): the points inside each ground-truth box (B, G, 4), or else the nearest point."""
    inside = boxes.contain(target_boxes, points)
    offsets = ops.expand_dims(boxes.centers(target_boxes), 2) - ops.expand_dims(points, 1)
    distance = ops.sum(offsets**2, axis=-1)
    nearest = distance == ops.min(distance, axis=-1, keepdims=True)
    return ops.where(ops.any(inside, axis=-1, keepdims=True), inside, nearest)


def _for_edges(strides):
    """x and y strides (B, A, 2) for left, top, right, bottom: (B, A, 4)."""
    return ops.concatenate([strides, strides], axis=-1)
