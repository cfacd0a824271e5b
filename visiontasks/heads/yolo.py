"""YOLO without anchors: at every cell of three levels the distances to a box's sides, and the classes beside them."""

import math

import keras
from keras import layers, ops

from visiontasks.arguments import Classes, Count, Levels, NonNegative, Positive, Share, between
from visiontasks.heads.head import Head, for_each, levels_among, picture_size
from visiontasks.layers import csp
from visiontasks.losses import detection
from visiontasks.losses.reduction import Term
from visiontasks.ops import anchors, assignment, boxes, matching, nms
from visiontasks.ops.objects import objects

USUAL_SIDE = 640  # pixels of a picture whose size is not known when the class scores' start is set
LIKELIEST = 0.1  # no class score starts higher
MOST_CLASS_FILTERS = 100
FALL = 0.5  # by which a distance's logit starts below that of the distance a stride shorter


class YOLO(Head):
    """Boxes and their classes at every cell of several levels, without anchors: YOLO in its form of 2023.

    Its parts are from papers: a path aggregation neck (Liu et al. 2018, https://arxiv.org/abs/1803.01534) of cross
    stage partial blocks; branches of their own for classes and boxes (Ge et al. 2021, https://arxiv.org/abs/2107.08430,
    section 2.1); each side of a box a distribution over whole strides (Li et al. 2020,
    https://arxiv.org/abs/2006.04388); task-aligned assignment (Feng et al. 2021, https://arxiv.org/abs/2108.07755);
    complete IoU (Zheng et al. 2020, https://arxiv.org/abs/1911.08287). On csp_darknet of the same size it has the
    published YOLOv8's layers and parameters; gains, alpha, beta, assigned and objects are that network's too (TOOD has
    alpha 1, 13 cells). The start of the distances is our own. An object that no cell's centre lies in is learnt by the
    nearest cell, unless others have it: a cell knows one object.

    Learns from `boxes`, float (B, G, 4) in pixels, `classes`, int (B, G), -1 = no object, and where there are `known`
    and `ignored` (ops/objects.py). A class that is not known in an image is learned from its objects there alone. A
    cell without an object learns nothing where half or more of the box that it predicts lies in an ignored region, as
    COCO's scoring neither rewards nor punishes such a box.

    Raw outputs are {"distances": float32 logits (B, A, 4, bins) of the distances left, top, right, bottom in strides,
    "classes": float32 logits (B, A, C), "points": float32 (B, A, 2), the cells' centres in pixels, "strides": float32
    (B, A, 2), "size": float32 (B, 2), the picture's height and width}. They decode to `boxes` float32 (B, D, 4) in
    pixels, `scores` float32 (B, D), `classes` int32 (B, D) and `valid` bool (B, D), best first.

    Args:
        classes: names of the classes, or their number.
        levels: the backbone's levels to look at; by default the three deepest up to C5.
        size: of neck and branches: n, s, m, l or x, from 0.25 to 1.25 times the width and 1/3 to 1 times the depth.
        bins: distances that a side can have, 0 to bins - 1 strides.
        assigned: cells that learn from a true box, at most.
        alpha, beta: exponents of score and overlap in how well a cell is aligned.
        box_gain, distance_gain, class_gain: what the terms `box`, `distance` and `classification` are multiplied by.
        objects: how many a picture is expected to have at each level: class scores start at this over classes × cells.
        score_threshold: a box of a lower score is not given.
        iou_threshold: a box that overlaps a better one of its class more is not given.
        agnostic: whether a box that overlaps a better one of any class more is not given either.
        candidates: pairs of a cell and a class that are considered, the best.
        detections: boxes given for a picture, D.

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
        # the widths of the published network's branches: by its finest level, and by how much there is to say
        finest = maps[0].shape[-1]
        box_width, class_width = (
            max(4 * self.bins, finest // 4),
            max(finest, min(len(self.classes), MOST_CLASS_FILTERS)),
        )
        outputs = {"distances": {}, "classes": {}}
        for level, x in zip(levels, maps, strict=True):
            prior = min(LIKELIEST, self.objects / (len(self.classes) * _cells(features_shape[level], level)))
            start = keras.initializers.Constant(-math.log((1 - prior) / prior))
            outputs["distances"][level] = self._branch(x, box_width, 4 * self.bins, _near, f"{level}_box")
            outputs["classes"][level] = self._branch(x, class_width, len(self.classes), start, f"{level}_class")
        self.network = keras.Model(inputs, outputs, name="network")

    def _branch(self, x, filters, columns, bias, name):
        for i in (1, 2):
            x = csp.convolution(x, filters, 3, f"{name}{i}", dtype=self.dtype_policy)
        # float32 whatever the policy: what comes out goes into exponentials
        return layers.Conv2D(columns, 1, bias_initializer=bias, dtype="float32", name=name)(x)

    def call(self, features, training=None):
        levels = sorted(set(features) - {"image"})
        size = picture_size(features, "yolo")
        maps = self.network({level: features[level] for level in levels}, training=training)
        points, strides = anchors.anchor_points([tuple(maps["classes"][level].shape[1:3]) for level in levels], size)
        distances, classes = (
            ops.concatenate([_rows(maps[what][level]) for level in levels], axis=1) for what in ("distances", "classes")
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
        """float32 (B, A, 4) in pixels, not yet clipped: each side where its distribution expects it."""
        expected = ops.sum(ops.softmax(outputs["distances"], axis=-1) * ops.arange(self.bins, dtype="float32"), axis=-1)
        return boxes.from_distances(expected * _of_sides(outputs["strides"]), outputs["points"])

    def compute_losses(self, targets, outputs, training=True):
        truth = objects(targets, len(self.classes))
        found, points = self._boxes(outputs), outputs["points"]
        scores = ops.stop_gradient(ops.sigmoid(outputs["classes"]))
        scores = ops.take_along_axis(
            ops.swapaxes(scores, 1, 2), ops.expand_dims(ops.maximum(truth.classes, 0), -1), axis=1
        )
        matches, aligned = assignment.task_aligned(
            scores,
            boxes.iou(truth.boxes, ops.stop_gradient(found)),
            _reached(truth.boxes, points),
            truth.valid,
            self.assigned,
            self.alpha,
            self.beta,
        )
        matches = matching.ignore(matches, truth.boxes, truth.ignored, ops.stop_gradient(found))
        aligned = ops.stop_gradient(aligned)
        own = matching.take(truth.boxes, matches)
        misfit = 1.0 - boxes.paired_iou(found, own, "ciou")
        distance = boxes.distances(own, points) / _of_sides(outputs["strides"])
        distance = ops.mean(detection.distribution_focal(distance, outputs["distances"]), axis=-1)
        learns = matches > matching.BACKGROUND
        labels = ops.where(learns, matching.take(truth.classes, matches), -1)
        labels = ops.one_hot(labels, len(self.classes), dtype="float32")
        entropy = detection.sigmoid_cross_entropy(labels * ops.expand_dims(aligned, -1), outputs["classes"])
        learned = ops.logical_or(ops.expand_dims(truth.known, 1), labels > 0)  # a class not known has no background
        entropy = ops.sum(ops.where(learned, entropy, 0.0), axis=-1)
        entropy = ops.where(matches == matching.IGNORED, 0.0, entropy)
        count = ops.sum(aligned)
        return {
            "box": Term(self.box_gain * ops.sum(ops.where(learns, misfit * aligned, 0.0)), count),
            "distance": Term(self.distance_gain * ops.sum(ops.where(learns, distance * aligned, 0.0)), count),
            "classification": Term(self.class_gain * ops.sum(entropy), count),
        }

    def decode(self, outputs):
        scores, rows, classes = nms.best_pairs(ops.sigmoid(outputs["classes"]), self.candidates)
        found = nms.gather(boxes.clip(self._boxes(outputs), outputs["size"]), rows)
        return nms.grouped(
            found,
            scores,
            classes,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            count=self.detections,
            agnostic=self.agnostic,
        )


def _near(shape, dtype=None):
    """The start of the distances' logits: 1.5 strides are expected of each side, and not half of the longest.

    An object of two or three cells would else begin with overlaps of some percent, by whose sixth power it learns, and
    learn nothing for hundreds of steps.
    """
    bins = shape[0] // 4
    return ops.tile(-FALL * ops.arange(bins, dtype=dtype), (4,))


def _cells(shape, level):
    """How many cells a level has, if its size is known, else as many as in a usual picture."""
    sides = (side or math.ceil(USUAL_SIDE / 2 ** int(level[1:])) for side in shape[1:3])
    return math.prod(sides)


def _reached(truth, points):
    """bool (B, G, A): whose centres lie in each true box (B, G, 4), or else the nearest one."""
    inside = boxes.contain(truth, points)
    centres = ops.expand_dims((truth[..., :2] + truth[..., 2:]) / 2, 2)
    away = ops.sum((centres - ops.expand_dims(points, 1)) ** 2, axis=-1)
    nearest = away == ops.min(away, axis=-1, keepdims=True)
    return ops.where(ops.any(inside, axis=-1, keepdims=True), inside, nearest)


def _rows(x):
    """The answers of all cells: (B, H, W, N) to (B, H * W, N)."""
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))


def _of_sides(strides):
    """x and y strides (B, A, 2) as those of left, top, right, bottom: (B, A, 4)."""
    return ops.concatenate([strides, strides], axis=-1)
