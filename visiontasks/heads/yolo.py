"""Anchor-free YOLO: at every cell of three levels, the distances to a box's edges and the class scores."""

import itertools
import math

import keras
from keras import layers, ops

from visiontasks.arguments import Classes, Count, Levels, NonNegative, Positive, Share, between
from visiontasks.heads.detection import DetectionHead, by_anchor, for_each, image_size
from visiontasks.layers import csp
from visiontasks.losses import detection
from visiontasks.losses.reduction import Term
from visiontasks.ops import anchors, assignment, boxes, matching, nms
from visiontasks.ops.objects import objects

USUAL_SIZE = 640  # image height and width assumed for the initial class scores if the size is not known
LIKELIEST = 0.1  # the highest initial class score
MOST_CLASS_FILTERS = 100
FALL = 0.5  # the decrease of the initial distance logits per stride


class YOLO(DetectionHead):
    """Object detection at every cell of several levels, without anchors: YOLO in the form of YOLOv8.

    Its components come from papers: a path aggregation neck (Liu et al. 2018, https://arxiv.org/abs/1803.01534) of
    cross stage partial blocks; separate branches for classes and boxes (Ge et al. 2021, https://arxiv.org/abs/2107.08430,
    section 2.1); for each edge of a box a distribution over whole strides (Li et al. 2020,
    https://arxiv.org/abs/2006.04388); task-aligned assignment (Feng et al. 2021, https://arxiv.org/abs/2108.07755);
    complete IoU (Zheng et al. 2020, https://arxiv.org/abs/1911.08287). On csp_darknet of the same variant it has
    YOLOv8's published layers and parameters; gains, alpha, beta, assigned and objects are also YOLOv8's (TOOD has alpha
    1 and 13 cells). The initial distances are this package's. An object that contains no cell center is learned by the
    nearest cell, unless that cell has another object: a cell has at most one.

    A class that is not known in an image is learned only from its objects there. A cell without an object learns
    nothing if half or more of its predicted box lies in an ignored region, because COCO's scoring ignores such a box.

    Raw outputs are {"distances": float32 logits (B, A, 4, bins) of the distances left, top, right, bottom in strides,
    "classes": float32 logits (B, A, C), "points": float32 (B, A, 2), the cells' centers in pixels, "strides": float32
    (B, A, 2), "size"}.

    Args:
        classes: names of the classes, or their number.
        levels: the backbone's levels; by default the three deepest up to C5.
        variant: size of neck and branches: n, s, m, l or x (0.25 to 1.25 times the width, 1/3 to 1 times the depth).
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
    """

    loss_terms = ("box", "distance", "classification")
    strides = (1, 32)
    divisible = False

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        variant: csp.Variant = "n",
        bins: between(2, 1000, int) = 16,
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
        super().__init__(classes, levels, score_threshold, iou_threshold, detections, **kwargs)
        self.variant, self.bins, self.assigned = variant, bins, assigned
        self.alpha, self.beta, self.objects = alpha, beta, objects
        self.box_gain, self.distance_gain, self.class_gain = box_gain, distance_gain, class_gain
        self.agnostic, self.candidates = agnostic, candidates

    def build(self, taps):
        super().build(taps)
        steps = [deeper.stride // finer.stride for finer, deeper in itertools.pairwise(self.tapped)]
        inputs = {tap.name: keras.Input(tap.shape[1:], dtype=self.compute_dtype, name=tap.name) for tap in self.tapped}
        maps = csp.path_aggregation(list(inputs.values()), steps, self.variant, self.dtype_policy)
        # the widths of YOLOv8's branches: from its finest level and the number of outputs
        finest = maps[0].shape[-1]
        box_width, class_width = (
            max(4 * self.bins, finest // 4),
            max(finest, min(len(self.classes), MOST_CLASS_FILTERS)),
        )
        outputs = {"distances": {}, "classes": {}}
        for tap, x in zip(self.tapped, maps, strict=True):
            prior = min(LIKELIEST, self.objects / (len(self.classes) * _cells(tap)))
            start = keras.initializers.Constant(-math.log((1 - prior) / prior))
            name = tap.name
            outputs["distances"][name] = self._branch(x, box_width, 4 * self.bins, _short_distances, f"{name}_box")
            outputs["classes"][name] = self._branch(x, class_width, len(self.classes), start, f"{name}_class")
        self.network = keras.Model(inputs, outputs, name="network")

    def _branch(self, x, filters, columns, bias, name):
        for i in (1, 2):
            x = csp.convolution(x, filters, 3, f"{name}{i}", dtype=self.dtype_policy)
        # float32 whatever the policy: exponentials of the outputs follow
        return layers.Conv2D(columns, 1, bias_initializer=bias, dtype="float32", name=name)(x)

    def call(self, features, training=None):
        levels = [tap.name for tap in self.tapped]
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

    def scored(self, outputs):
        scores, rows, classes = nms.best_pairs(ops.sigmoid(outputs["classes"]), self.candidates)
        return nms.gather(self._boxes(outputs), rows), scores, classes

    def every_box(self, outputs):
        return self._boxes(outputs), outputs["classes"], ops.sigmoid(outputs["classes"])


def _short_distances(shape, dtype=None):
    """The initial logits of distances: their expectation is 1.5 strides instead of half of the longest distance.

    With the latter, objects of two or three cells begin with overlaps of some percent. These are raised to the sixth
    power, so that such objects learn nothing for hundreds of steps.
    """
    bins = shape[0] // 4
    return ops.tile(-FALL * ops.arange(bins, dtype=dtype), (4,))


def _cells(tap):
    """The number of cells of a level; for an unknown size, that of a usual image."""
    return math.prod(length or math.ceil(USUAL_SIZE / tap.stride) for length in tap.size)


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
