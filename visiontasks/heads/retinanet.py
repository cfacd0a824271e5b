"""RetinaNet: anchors at every cell of a feature pyramid, trained with the focal loss."""

import math
from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import (
    Channels,
    Classes,
    Count,
    Levels,
    MoreLayers,
    NonNegative,
    Positive,
    Positives,
    Share,
    between,
)
from visiontasks.heads.detection import DetectionHead, by_anchor, for_each, image_size, pyramid_anchors
from visiontasks.layers.feature_pyramid import FeaturePyramid
from visiontasks.losses import detection, sigmoid
from visiontasks.losses.reduction import over
from visiontasks.ops import assignment, boxes, matching, nms
from visiontasks.ops.objects import objects

PRIOR = 0.01  # the initial score of every anchor: section 4.1 of the paper


class RetinaNet(DetectionHead):
    """Object detection with dense anchors on a feature pyramid and the focal loss: RetinaNet.

    Lin et al. 2017, https://arxiv.org/abs/1708.02002. On `resnet50` it equals torchvision's retinanet_resnet50_fpn: P3
    to P5 from C3 to C5, P6 and P7 by strided convolutions from P5; see weights/retinanet.py.

    A class that is not known in an image is learned only from its objects there. An anchor without an object and with
    half of its area in an ignored region learns nothing.

    Raw outputs are, one per level, {"boxes": float32 (B, A, 4), deltas from the anchors, "classes": logits (B, A, C),
    "anchors": (B, A, 4) in pixels}, and "size".

    Args:
        classes: names of the classes, or their number, without background.
        levels: the backbone's levels; by default C3 to C5, or the three deepest.
        filters: channels of the pyramid and of the towers.
        convs: 3×3 convolutions in the class tower and in the box tower, shared by all levels.
        ratios: height / width of the anchors.
        anchor_scale: size of a level's smallest square anchor, in strides of the level.
        scales_per_octave: anchor sizes per level, evenly spaced in logarithm up to the next level's; as in torchvision,
            sizes are rounded down to whole pixels.
        alpha, gamma: of the focal loss: the weight of objects against background, and the focus on hard examples.
        assignment: which anchors learn an object: overlap, as in the paper, or adaptive (Zhang et al. 2020,
            https://arxiv.org/abs/1912.02424, algorithm 1).
        overlap: minimum IoU of an anchor with the object it learns; each object's best anchor always learns it.
        background: an anchor below this IoU learns background; between the two it learns nothing. The adaptive
            assignment uses neither overlap nor background.
        score_threshold: boxes with a lower score are removed.
        iou_threshold: a box with a higher IoU with a better one of its class is removed.
        candidates: the number of best pairs of anchor and class per level that are considered.
        detections: maximum boxes per image, D.
    """

    loss_terms = ("classification", "localization")
    strides = (2, 32)

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        filters: Channels = 256,
        convs: MoreLayers = 4,
        ratios: Positives = (0.5, 1.0, 2.0),
        anchor_scale: Positive = 4.0,
        scales_per_octave: between(1, 100, int) = 3,
        alpha: Share = 0.25,
        gamma: NonNegative = 2.0,
        assignment: Literal["overlap", "adaptive"] = "overlap",
        overlap: Share = 0.5,
        background: Share = 0.4,
        score_threshold: Share = 0.05,
        iou_threshold: Share = 0.5,
        candidates: Count = 1000,
        detections: Count = 300,
        **kwargs,
    ):
        super().__init__(classes, levels, score_threshold, iou_threshold, detections, **kwargs)
        self.filters, self.convs, self.candidates = filters, convs, candidates
        self.ratios, self.anchor_scale, self.scales_per_octave = ratios, anchor_scale, scales_per_octave
        self.alpha, self.gamma = alpha, gamma
        self.assignment, self.overlap, self.background = assignment, overlap, background

    def build(self, taps):
        super().build(taps)
        strides = [tap.stride for tap in self.tapped]
        strides += [2 * strides[-1], 4 * strides[-1]]
        octave = [2 ** (i / self.scales_per_octave) for i in range(self.scales_per_octave)]
        self._sizes = [[int(self.anchor_scale * stride * scale) for scale in octave] for stride in strides]
        self.pyramid = FeaturePyramid(self.filters, "convs", name="pyramid", dtype=self.dtype_policy)
        self.pyramid.build([tap.shape for tap in self.tapped])
        number = len(self.ratios) * self.scales_per_octave
        self.class_tower, self.class_conv = self._tower("classes", number * len(self.classes), -math.log(1 / PRIOR - 1))
        self.box_tower, self.box_conv = self._tower("boxes", number * 4, 0.0)

    def _tower(self, what, columns, bias):
        """([convolutions], the last one), which is float32 whatever the policy: exponentials of its output follow."""
        # he_normal: the paper's normal(0.01) is for 256 filters; in narrow towers almost nothing would pass
        hidden = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
        tower = [
            keras.layers.Conv2D(self.filters, 3, name=f"{what}_conv{i}", dtype=self.dtype_policy, **hidden)
            for i in range(self.convs)
        ]
        last = keras.layers.Conv2D(
            columns,
            3,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            bias_initializer=keras.initializers.Constant(bias),
            dtype="float32",
            name=what,
        )
        for layer in (*tower, last):
            layer.build((None, None, None, self.filters))
        return tower, last

    def call(self, features, training=None):
        size = image_size(features, "retinanet")
        maps = self.pyramid([features[tap.name] for tap in self.tapped])
        return {
            "boxes": [_predict(x, self.box_tower, self.box_conv, 4) for x in maps],
            "classes": [_predict(x, self.class_tower, self.class_conv, len(self.classes)) for x in maps],
            "anchors": pyramid_anchors(maps, size, self._sizes, self.ratios),
            "size": for_each(size, ops.shape(maps[0])[0]),
        }

    def compute_losses(self, targets, outputs, training=True):
        deltas, logits, all_anchors = (ops.concatenate(outputs[key], axis=1) for key in ("boxes", "classes", "anchors"))
        target = objects(targets, len(self.classes))
        if self.assignment == "adaptive":
            # all images of a batch have the same anchors
            levels = [x.shape[1] for x in outputs["anchors"]]
            matches = assignment.adaptive(target.boxes, target.valid, all_anchors[0], target.ignored, levels)
        else:
            matches = matching.nearest(
                target.boxes,
                target.valid,
                all_anchors,
                target.ignored,
                high=self.overlap,
                low=self.background,
                rescue=True,
            )
        positive = matches >= 0
        labels = ops.where(positive, matching.take(target.classes, matches), -1)
        labels = ops.one_hot(labels, len(self.classes), dtype="float32")  # zeros for background
        entropy = sigmoid.focal_elements(labels, logits, self.gamma, self.alpha)
        entropy = detection.over_known_classes(entropy, labels, target.known, matches == matching.IGNORED)
        target_deltas = boxes.encode(matching.take(target.boxes, matches), all_anchors)
        distance = ops.where(positive, ops.sum(ops.abs(deltas - target_deltas), axis=-1), 0.0)
        # each image is divided by its number of objects; the mean is over the labeled images
        count = ops.maximum(ops.sum(ops.cast(positive, "float32"), axis=-1), 1.0)
        return {
            "classification": over(ops.sum(entropy, axis=-1) / count, target.labeled),
            "localization": over(ops.sum(distance, axis=-1) / count, target.labeled),
        }

    def scored(self, outputs):
        chosen = []
        for deltas, logits, level_anchors in zip(outputs["boxes"], outputs["classes"], outputs["anchors"], strict=True):
            scores, rows, classes = nms.best_pairs(ops.sigmoid(logits), self.candidates)
            predicted = boxes.decode(nms.gather(deltas, rows), nms.gather(level_anchors, rows))
            chosen.append((predicted, scores, classes))
        return tuple(ops.concatenate(values, axis=1) for values in zip(*chosen, strict=True))

    def every_box(self, outputs):
        deltas, logits, all_anchors = (ops.concatenate(outputs[key], axis=1) for key in ("boxes", "classes", "anchors"))
        return boxes.decode(deltas, all_anchors), logits, ops.sigmoid(logits)


def _predict(x, tower, last, columns):
    """The outputs of one level: (B, A, columns)."""
    for layer in (*tower, last):
        x = layer(x)
    return by_anchor(x, columns)
