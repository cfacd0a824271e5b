"""`RegionProposals`: where something may be, whatever it is; the first stage of an R-CNN."""

import keras
from keras import ops

from visiontasks.arguments import Checked, Count
from visiontasks.ops import boxes as box_ops
from visiontasks.ops import nms


@keras.saving.register_keras_serializable(package="visiontasks")
class RegionProposals(Checked, keras.layers.Layer):
    """Says of every anchor whether an object is there, and how its box differs.

    Ren et al. 2015, https://arxiv.org/abs/1506.01497, section 3.1: a 3×3 convolution and two 1×1 ones, the same for all
    levels. Takes feature maps (B, H, W, filters), gives for each the logits, float32 (B, A), and the differences,
    float32 (B, A, 4), of the anchors in the order of `ops.anchors.grid_anchors`.

    Args:
        filters: channels of the feature maps.
        anchors: anchors a cell.
    """

    def __init__(self, filters: Count, anchors: Count, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.anchors = filters, anchors
        small = keras.initializers.RandomNormal(stddev=0.01)  # section 3.1.3
        self.conv = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",  # the paper's 0.01 is for 256 filters, fewer would hand on next to nothing
            dtype=self.dtype_policy,
            name="conv",
        )
        # float32 whatever the policy: what comes out goes into exponentials
        self.objectness = keras.layers.Conv2D(anchors, 1, kernel_initializer=small, dtype="float32", name="objectness")
        self.boxes = keras.layers.Conv2D(anchors * 4, 1, kernel_initializer=small, dtype="float32", name="boxes")

    def build(self, shapes):
        for layer in (self.conv, self.objectness, self.boxes):
            layer.build((None, None, None, self.filters))

    def call(self, maps):
        maps = [self.conv(x) for x in maps]
        sizes = [x.shape[1] * x.shape[2] * self.anchors for x in maps]
        logits = [ops.reshape(self.objectness(x), (-1, size)) for x, size in zip(maps, sizes, strict=True)]
        return logits, [ops.reshape(self.boxes(x), (-1, size, 4)) for x, size in zip(maps, sizes, strict=True)]

    def compute_output_shape(self, shapes):
        sizes = [(shape[0], shape[1] and shape[2] and shape[1] * shape[2] * self.anchors) for shape in shapes]
        return sizes, [(*size, 4) for size in sizes]


def propose(
    logits, differences, anchors, size, *, candidates: int, count: int, iou_threshold: float, smallest: float
) -> dict:
    """The best boxes of all levels, each suppressed by better ones of its own level; no gradient runs through them.

    Args:
        logits: (B, A) of each level.
        differences: (B, A, 4) of each level.
        anchors: (B, A, 4) of each level, in pixels.
        size: (B, 2), the picture's height and width.
        candidates: boxes a level that are considered, the best.
        count: boxes a picture that come out, P.
        iou_threshold: an overlap above it suppresses.
        smallest: pixels that a side must have.

    Returns:
        {"boxes": float32 (B, P, 4) in pixels, cut to the picture, "valid": bool (B, P)}, best first.
    """
    chosen = []
    for level, (scores, deltas, places) in enumerate(zip(logits, differences, anchors, strict=True)):
        # the order of logits is the order of scores, and does not round to 1
        scores, rows = nms.best(ops.stop_gradient(scores), min(candidates, scores.shape[1]))
        found = box_ops.decode(nms.gather(ops.stop_gradient(deltas), rows), nms.gather(places, rows))
        found = box_ops.clip(found, size)
        scores = ops.where(box_ops.at_least(found, smallest), scores, -float("inf"))
        chosen.append((found, scores, ops.full_like(rows, level)))
    found, scores, levels = (ops.concatenate(parts, axis=1) for parts in zip(*chosen, strict=True))
    count = min(count, scores.shape[1])
    kept = nms.grouped(found, scores, levels, score_threshold=-float("inf"), iou_threshold=iou_threshold, count=count)
    return {key: ops.stop_gradient(kept[key]) if key == "boxes" else kept[key] for key in ("boxes", "valid")}
