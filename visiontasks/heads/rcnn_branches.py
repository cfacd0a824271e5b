"""Branches of an R-CNN's second stage, each with its own output for the same boxes.

A branch is a layer. `call(pyramid, boxes)` pools features from {level number: (B, H, W, C)} for boxes (B, N, 4) and
returns raw outputs, float32 (B, N, …). `compute_losses(outputs, samples, targets)` returns a Term for each of its
`loss_terms`. `targets` are the head's, with all fields that it learns from. Samples are those of `RCNN.sample`:

- `boxes` float32 (B, S, 4): the boxes to learn from, those with an object first;
- `valid` bool (B, S): false for padding;
- `labels` int32 (B, S): 0 background, class + 1 for an object;
- `matches` int32 (B, S): the index of the ground-truth box, or negative; `targets` float32 (B, S, 4): that box.

The box branch uses all samples, and its `decode` returns the final boxes. A branch of `RCNN.further_branches`, for
masks or keypoints, is trained on samples that may have an object and predicts for the final boxes: its
`decode(outputs, detections)` returns further entries (B, D, …), where `detections` are the final `boxes`, `scores`,
`classes` and `valid`.
"""

import keras
from keras import ops

from visiontasks.arguments import Checked, Count
from visiontasks.losses import detection
from visiontasks.losses.reduction import Term, over
from visiontasks.ops import boxes as box_ops
from visiontasks.ops import nms
from visiontasks.ops.objects import objects
from visiontasks.ops.roi_align import roi_align

VARIANCES = (0.1, 0.1, 0.2, 0.2)
BETA = 1 / 9  # where the box loss becomes linear, as in torchvision and Detectron
SMALLEST = 0.01  # minimum width and height of a final box in pixels


@keras.saving.register_keras_serializable(package="visiontasks")
class BoxBranch(Checked, keras.layers.Layer):
    """The class and the refined position of each box: Fast R-CNN on a pyramid.

    Girshick 2015, https://arxiv.org/abs/1504.08083, section 2; two dense layers over a grid of features as in Lin et
    al. 2017, https://arxiv.org/abs/1612.03144, section 4.2. Raw outputs are {"classes": logits (B, N, C + 1),
    background first, "boxes": (B, N, C + 1, 4), deltas from the box, separate for each class}.

    Args:
        classes: number of classes, C.
        bins: features per row and column of a box.
        bin_samples: points per row and column of a bin.
        units: of each dense layer.
    """

    loss_terms = ("classification", "localization")

    def __init__(self, classes: Count, bins: Count, bin_samples: Count, units: Count, **kwargs):
        super().__init__(**kwargs)
        self.columns, self.bins, self.bin_samples = classes + 1, bins, bin_samples

        def dense(name, count, **arguments):
            return keras.layers.Dense(count, name=name, **arguments)

        self.hidden = [dense(name, units, activation="relu", dtype=self.dtype_policy) for name in ("fc6", "fc7")]
        # Gaussian as in section 2.3; float32 whatever the policy, because exponentials of the outputs follow
        normal = keras.initializers.RandomNormal
        self.class_scores = dense("classes", self.columns, kernel_initializer=normal(stddev=0.01), dtype="float32")
        self.boxes = dense("boxes", self.columns * 4, kernel_initializer=normal(stddev=0.001), dtype="float32")

    def build(self, pyramid_shape, boxes_shape=None):
        (channels,) = {shape[-1] for shape in pyramid_shape.values()}
        shape = (None, None, self.bins**2 * channels)
        for layer in self.hidden:
            layer.build(shape)
            shape = (None, None, layer.units)
        self.class_scores.build(shape)
        self.boxes.build(shape)
        self.built = True

    def call(self, pyramid, boxes):
        features = roi_align({int(number): x for number, x in pyramid.items()}, boxes, self.bins, self.bin_samples)
        count = boxes.shape[1]
        x = ops.reshape(features, (-1, count, self.bins**2 * features.shape[-1]))
        for layer in self.hidden:
            x = layer(x)
        return {"classes": self.class_scores(x), "boxes": ops.reshape(self.boxes(x), (-1, count, self.columns, 4))}

    def compute_losses(self, outputs, samples, targets):
        """{term: Term}; both count the samples."""
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

    def decode(self, outputs, boxes, valid, size, **bounds) -> dict:
        """The final boxes; `bounds` are those of `ops.nms.grouped`.

        Args:
            outputs: of `call`.
            boxes: (B, N, 4), the input boxes.
            valid: bool (B, N), false for padding.
            size: (B, 2), the image's height and width.
        """
        classes, count = self.columns - 1, boxes.shape[1]
        predicted = box_ops.decode(outputs["boxes"][:, :, 1:], ops.expand_dims(boxes, 2), VARIANCES)
        predicted = box_ops.clip(ops.reshape(predicted, (-1, count * classes, 4)), size)
        scores = ops.softmax(outputs["classes"], axis=-1)[..., 1:]
        scores = ops.reshape(ops.where(ops.expand_dims(valid, -1), scores, 0.0), (-1, count * classes))
        scores = ops.where(box_ops.at_least(predicted, SMALLEST), scores, 0.0)
        numbers = ops.tile(ops.arange(classes, dtype="int32"), (count,))
        numbers = ops.broadcast_to(ops.expand_dims(numbers, 0), ops.shape(scores))
        return nms.grouped(predicted, scores, numbers, **bounds)
