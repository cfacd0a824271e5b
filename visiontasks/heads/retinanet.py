"""RetinaNet: anchors at every cell of a feature pyramid, and a loss that dwells on what is hard."""

import math
from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import Classes, Count, Levels, NonNegative, Positive, Positives, Share, Whole
from visiontasks.heads.head import Head, for_each, levels_among, picture_size
from visiontasks.layers.feature_pyramid import FeaturePyramid, numbers
from visiontasks.losses import sigmoid
from visiontasks.losses.reduction import over
from visiontasks.ops import anchors, assignment, boxes, matching, nms
from visiontasks.ops.objects import objects

PRIOR = 0.01  # the score that every anchor begins with: section 4.1 of the paper


class RetinaNet(Head):
    """Boxes and their classes by dense anchors on a feature pyramid, learnt with the focal loss.

    Lin et al. 2017, https://arxiv.org/abs/1708.02002. On `resnet50` it is torchvision's retinanet_resnet50_fpn: P3 to
    P5 out of C3 to C5, P6 and P7 by strided convolutions from P5; see weights/retinanet.py.

    Learns from `boxes`, float (B, G, 4) in pixels, `classes`, int (B, G), -1 = no object, and where there are `known`
    and `ignored` (ops/objects.py). A class that is not known in an image is learned from its objects there alone; an
    anchor with half its area in an ignored region, and no object, learns nothing.

    Raw outputs are {"boxes": one float32 (B, A, 4) for each level, differences from the anchors, "classes": one of
    logits (B, A, C) for each, "anchors": one (B, A, 4) in pixels for each, "size": float32 (B, 2), the picture's height
    and width}. They decode to `boxes` float32 (B, D, 4) in pixels, `scores` float32 (B, D), `classes` int32 (B, D) and
    `valid` bool (B, D), best first.

    Args:
        classes: names of the classes, or their number; background is none of them.
        levels: the backbone's levels to look at; by default C3 to C5, or the three deepest there are.
        filters: channels of the pyramid and of what looks at it.
        convs: 3×3 convolutions before the classes, and as many before the boxes; each serves all levels.
        ratios: of an anchor's height to its width.
        anchor_scale: side of a level's smallest square anchor in strides of that level.
        scales_per_octave: squares a level, evenly spaced in logarithm up to the next level's; as in torchvision their
            sides are cut to whole pixels.
        alpha, gamma: of the focal loss: the weight of an object against background, and how hard it dwells.
        assignment: which anchors learn from a true box: by their overlap with it, as in the paper, or adaptive (Zhang
            et al. 2020, https://arxiv.org/abs/1912.02424, algorithm 1).
        overlap: the least IoU of an anchor with a true box that it learns from, beside the best of each.
        background: below this IoU an anchor learns that nothing is there; between the two, nothing. Where assignment is
            adaptive, overlap and background are not used.
        score_threshold: a box of a lower score is not given.
        iou_threshold: a box that overlaps a better one of its class more is not given.
        candidates: pairs of anchor and class of each level that are considered, the best.
        detections: boxes given for a picture, D.

    Raises:
        ValueError: an argument does not fit; the text says what was expected.
    """

    task = "detection"
    fields = ("classes", "boxes")
    loss_terms = ("classification", "localization")

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        filters: Count = 256,
        convs: Whole = 4,
        ratios: Positives = (0.5, 1.0, 2.0),
        anchor_scale: Positive = 4.0,
        scales_per_octave: Count = 3,
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
        super().__init__(classes, **kwargs)
        self.levels, self.filters, self.convs = levels, filters, convs
        self.ratios, self.anchor_scale, self.scales_per_octave = ratios, anchor_scale, scales_per_octave
        self.alpha, self.gamma = alpha, gamma
        self.assignment, self.overlap, self.background = assignment, overlap, background
        self.score_threshold, self.iou_threshold = score_threshold, iou_threshold
        self.candidates, self.detections = candidates, detections

    def taps(self, available):
        if self.levels:
            return (*sorted(self.levels), "image")
        return (*levels_among(available, "retinanet", within=range(1, 6))[-3:], "image")

    def build(self, features_shape):
        half = {"dtype": self.dtype_policy}
        levels = sorted(set(features_shape) - {"image"})
        found = numbers(levels)
        strides = [2**number for number in (*found, found[-1] + 1, found[-1] + 2)]
        octave = [2 ** (i / self.scales_per_octave) for i in range(self.scales_per_octave)]
        self._sides = [[int(self.anchor_scale * stride * scale) for scale in octave] for stride in strides]
        self.pyramid = FeaturePyramid(self.filters, "convs", name="pyramid", **half)
        self.pyramid.build([features_shape[level] for level in levels])
        number = len(self.ratios) * self.scales_per_octave
        self.class_tower, self.class_conv = self._tower("classes", number * len(self.classes), -math.log(1 / PRIOR - 1))
        self.box_tower, self.box_conv = self._tower("boxes", number * 4, 0.0)

    def _tower(self, what, columns, bias):
        """([convolutions], the last one): float32 whatever the policy, for what comes out goes into exponentials."""
        seen = (None, None, None, self.filters)
        tower = []
        for i in range(self.convs):
            # the paper's normal(0.01) is for 256 filters: narrow towers would hand on next to nothing
            tower.append(
                keras.layers.Conv2D(
                    self.filters,
                    3,
                    padding="same",
                    activation="relu",
                    kernel_initializer="he_normal",
                    dtype=self.dtype_policy,
                    name=f"{what}_conv{i}",
                )
            )
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
            layer.build(seen)
        return tower, last

    def call(self, features, training=None):
        size = picture_size(features, "retinanet")
        levels = sorted(set(features) - {"image"})
        maps = self.pyramid([features[level] for level in levels])
        batch = ops.shape(maps[0])[0]
        places = []
        for x, sides in zip(maps, self._sides, strict=True):
            own = anchors.grid_anchors([tuple(x.shape[1:3])], size, [sides], self.ratios)
            places.append(for_each(own, batch))
        return {
            "boxes": [_rows(x, self.box_tower, self.box_conv, 4) for x in maps],
            "classes": [_rows(x, self.class_tower, self.class_conv, len(self.classes)) for x in maps],
            "anchors": places,
            "size": for_each(size, batch),
        }

    def compute_losses(self, targets, outputs, training=True):
        found, logits, places = (ops.concatenate(outputs[key], axis=1) for key in ("boxes", "classes", "anchors"))
        truth = objects(targets, len(self.classes))
        if self.assignment == "adaptive":
            # a batch has the same anchors throughout
            levels = [x.shape[1] for x in outputs["anchors"]]
            matches = assignment.adaptive(truth.boxes, truth.valid, places[0], levels)
            matches = matching.ignore(matches, truth.boxes, truth.ignored, places)
        else:
            matches = matching.nearest(
                truth.boxes, truth.valid, places, truth.ignored, high=self.overlap, low=self.background, rescue=True
            )
        positive = matches >= 0
        labels = ops.where(positive, matching.take(truth.classes, matches), -1)
        labels = ops.one_hot(labels, len(self.classes), dtype="float32")  # zeros for background
        entropy = sigmoid.focal_elements(labels, logits, self.gamma, self.alpha)
        learned = ops.logical_or(ops.expand_dims(truth.known, 1), labels > 0)  # a class not known has no background
        entropy = ops.sum(ops.where(learned, entropy, 0.0), axis=-1)
        entropy = ops.where(matches == matching.IGNORED, 0.0, entropy)
        differences = boxes.encode(matching.take(truth.boxes, matches), places)
        distance = ops.where(positive, ops.sum(ops.abs(found - differences), axis=-1), 0.0)
        # of each image by its own objects; the mean over the labelled images
        count = ops.maximum(ops.sum(ops.cast(positive, "float32"), axis=-1), 1.0)
        return {
            "classification": over(ops.sum(entropy, axis=-1) / count, truth.labeled),
            "localization": over(ops.sum(distance, axis=-1) / count, truth.labeled),
        }

    def decode(self, outputs):
        chosen = []
        for differences, logits, places in zip(outputs["boxes"], outputs["classes"], outputs["anchors"], strict=True):
            scores, rows, classes = nms.best_pairs(ops.sigmoid(logits), self.candidates)
            found = boxes.decode(nms.gather(differences, rows), nms.gather(places, rows))
            chosen.append((boxes.clip(found, outputs["size"]), scores, classes))
        found, scores, classes = (ops.concatenate(parts, axis=1) for parts in zip(*chosen, strict=True))
        return nms.grouped(
            found,
            scores,
            classes,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            count=self.detections,
        )


def _rows(x, tower, last, columns):
    """The answers of all cells of one level: (B, A, columns)."""
    for layer in (*tower, last):
        x = layer(x)
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3] // columns, columns))
