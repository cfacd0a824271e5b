"""`RegionProposals`: class-agnostic object boxes, the first stage of an R-CNN."""

import keras
from keras import ops

from visiontasks.arguments import Channels, Checked, Count, Layers
from visiontasks.ops import boxes as box_ops
from visiontasks.ops import nms


@keras.saving.register_keras_serializable(package="visiontasks")
class RegionProposals(Checked, keras.layers.Layer):
    """Predicts an objectness logit and box deltas for every anchor.

    Ren et al. 2015, https://arxiv.org/abs/1506.01497, section 3.1: a 3×3 convolution and two 1×1 ones, shared by all
    levels. Input: feature maps (B, H, W, filters). Output per level: logits, float32 (B, A), and deltas, float32
    (B, A, 4), in the anchors' order of `ops.anchors.grid_anchors`.

    Args:
        filters: channels of the feature maps.
        anchors: anchors per cell.
        layers: number of 3×3 convolutions.
    """

    def __init__(self, filters: Channels, anchors: Count, layers: Layers = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.anchors = filters, anchors
        small = keras.initializers.RandomNormal(stddev=0.01)  # section 3.1.3

        def convolution(name):
            # the paper's 0.01 is for 256 filters; with fewer almost nothing would pass
            kind = {"activation": "relu", "kernel_initializer": "he_normal", "dtype": self.dtype_policy}
            return keras.layers.Conv2D(filters, 3, padding="same", name=name, **kind)

        self.conv, self.further = convolution("conv"), [convolution(f"conv{number}") for number in range(1, layers)]
        # float32 whatever the policy: exponentials of the outputs follow
        self.objectness = keras.layers.Conv2D(anchors, 1, kernel_initializer=small, dtype="float32", name="objectness")
        self.boxes = keras.layers.Conv2D(anchors * 4, 1, kernel_initializer=small, dtype="float32", name="boxes")

    def build(self, shapes):
        for layer in (self.conv, *self.further, self.objectness, self.boxes):
            layer.build((None, None, None, self.filters))

    def call(self, maps):
        for conv in (self.conv, *self.further):
            maps = [conv(x) for x in maps]
        sizes = [x.shape[1] * x.shape[2] * self.anchors for x in maps]
        logits = [ops.reshape(self.objectness(x), (-1, size)) for x, size in zip(maps, sizes, strict=True)]
        return logits, [ops.reshape(self.boxes(x), (-1, size, 4)) for x, size in zip(maps, sizes, strict=True)]

    def compute_output_shape(self, shapes):
        sizes = [(shape[0], shape[1] and shape[2] and shape[1] * shape[2] * self.anchors) for shape in shapes]
        return sizes, [(*size, 4) for size in sizes]


def propose(
    logits, deltas, anchors, size, *, candidates: int, count: int, iou_threshold: float, smallest: float
) -> dict:
    """The best boxes of all levels after non-maximum suppression within each level; without gradients.

    Args:
        logits: (B, A) for each level.
        deltas: (B, A, 4) for each level.
        anchors: (B, A, 4) for each level, in pixels.
        size: (B, 2), the image's height and width.
        candidates: the number of best boxes per level that are considered.
        count: boxes per image in the output, P.
        iou_threshold: a higher overlap suppresses.
        smallest: the minimum width and height in pixels.

    Returns:
        {"boxes": float32 (B, P, 4) in pixels, clipped to the image, "valid": bool (B, P)}, best first.
    """
    chosen = []
    for level, (scores, offsets, boxes) in enumerate(zip(logits, deltas, anchors, strict=True)):
        # logits have the order of scores, but do not saturate at 1
        scores, rows = nms.best(ops.stop_gradient(scores), min(candidates, scores.shape[1]))
        boxes = box_ops.decode(nms.gather(ops.stop_gradient(offsets), rows), nms.gather(boxes, rows))
        boxes = box_ops.clip(boxes, size)
        scores = ops.where(box_ops.at_least(boxes, smallest), scores, -float("inf"))
        chosen.append((boxes, scores, ops.full_like(rows, level)))
    boxes, scores, levels = (ops.concatenate(values, axis=1) for values in zip(*chosen, strict=True))
    count = min(count, scores.shape[1])
    kept = nms.grouped(boxes, scores, levels, score_threshold=-float("inf"), iou_threshold=iou_threshold, count=count)
    return {key: ops.stop_gradient(kept[key]) if key == "boxes" else kept[key] for key in ("boxes", "valid")}
