"""What an R-CNN's second stage says about each box that it is shown: branches over the same proposals.

A branch is a layer: `call(pyramid, boxes)` pools its own features out of {level number: (B, H, W, C)} for boxes
(B, N, 4), and gives its raw answers, float32 (B, N, …) each. `compute_losses(answers, samples, targets)` gives a Term
for each of its `loss_terms`; `targets` are those of the head, with whatever fields it learns from, and samples are what
`RCNN.sample` gives:

- `boxes` float32 (B, S, 4): what is learnt from, those with an object first;
- `there` bool (B, S): whether the place is taken;
- `labels` int32 (B, S): 0 background, class + 1 for an object;
- `matches` int32 (B, S): the number of its true box, or negative; `targets` float32 (B, S, 4): that box.

The boxes' own branch looks at all samples, and its `decode` gives the final boxes. One that `RCNN.further_branches`
adds, for a mask or keypoints, looks at those samples alone that may have an object, and then at the final boxes: its
`decode(answers, found)` gives more entries (B, D, …) for them, `found` being the final `boxes`, `scores`, `classes`
and `valid`.
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
BETA = 1 / 9  # where the box loss turns linear, as in torchvision and Detectron
SMALLEST = 0.01  # a final box has sides of as many pixels


@keras.saving.register_keras_serializable(package="visiontasks")
class BoxBranch(Checked, keras.layers.Layer):
    """The class of each box, and where it really lies: Fast R-CNN on a pyramid.

    Girshick 2015, https://arxiv.org/abs/1504.08083, section 2; two dense layers over a grid of features as in Lin et
    al. 2017, https://arxiv.org/abs/1612.03144, section 4.2. Answers are {"classes": logits (B, N, C + 1), the first of
    the background, "boxes": (B, N, C + 1, 4), differences from the box, for each class its own}.

    Args:
        classes: their number, C.
        bins: features along a side of a box.
        bin_samples: points along a side of a bin.
        units: of each dense layer.
    """

    loss_terms = ("classification", "localization")

    def __init__(self, classes: Count, bins: Count, bin_samples: Count, units: Count, **kwargs):
        super().__init__(**kwargs)
        self.columns, self.bins, self.bin_samples = classes + 1, bins, bin_samples

        def dense(name, count, **arguments):
            return keras.layers.Dense(count, name=name, **arguments)

        self.hidden = [dense(name, units, activation="relu", dtype=self.dtype_policy) for name in ("fc6", "fc7")]
        # Gaussian as in section 2.3; float32 whatever the policy, for what comes out goes into exponentials
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

    def compute_losses(self, answers, samples, targets):
        """{term: Term}, both count the samples."""
        labels, there = samples["labels"], samples["there"]
        known = objects(targets, self.columns - 1).known
        entropy = detection.marginal_cross_entropy(labels, answers["classes"], known)
        own = ops.take_along_axis(answers["boxes"], ops.reshape(labels, (-1, labels.shape[1], 1, 1)), axis=2)
        differences = box_ops.encode(samples["targets"], samples["boxes"], VARIANCES)
        distance = ops.sum(detection.smooth_l1(differences, ops.squeeze(own, 2), BETA), axis=-1)
        classification = over(entropy, there)
        return {
            "classification": classification,
            "localization": Term(ops.sum(ops.where(labels > 0, distance, 0.0)), classification.count),
        }

    def decode(self, answers, boxes, valid, size, **bounds) -> dict:
        """The final boxes: see `ops.nms.grouped`, which `bounds` are for.

        Args:
            answers: of `call`.
            boxes: (B, N, 4) that they are about.
            valid: bool (B, N), which of them there are.
            size: (B, 2), the picture's height and width.
        """
        classes, count = self.columns - 1, boxes.shape[1]
        found = box_ops.decode(answers["boxes"][:, :, 1:], ops.expand_dims(boxes, 2), VARIANCES)
        found = box_ops.clip(ops.reshape(found, (-1, count * classes, 4)), size)
        scores = ops.softmax(answers["classes"], axis=-1)[..., 1:]
        scores = ops.reshape(ops.where(ops.expand_dims(valid, -1), scores, 0.0), (-1, count * classes))
        scores = ops.where(box_ops.at_least(found, SMALLEST), scores, 0.0)
        numbers = ops.tile(ops.arange(classes, dtype="int32"), (count,))
        numbers = ops.broadcast_to(ops.expand_dims(numbers, 0), ops.shape(scores))
        return nms.grouped(found, scores, numbers, **bounds)
