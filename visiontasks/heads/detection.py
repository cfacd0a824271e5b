"""`DetectionHead`: the base of heads that detect objects: taps of several levels, and suppression of duplicates."""

import math

from keras import ops

from visiontasks.arguments import Classes
from visiontasks.heads.choices import Choice, for_images
from visiontasks.heads.head import Head
from visiontasks.ops import anchors, nms
from visiontasks.ops import boxes as box_ops
from visiontasks.taps import Tap, levels_among


class DetectionHead(Head):
    """A head that detects objects. Abstract: a subclass implements `build`, `call`, `compute_losses`, `scored`
    and `every_box`.

    It learns from `boxes`, float (B, G, 4) in pixels, `classes`, int (B, G), -1 = no object, and optionally `known` and
    `ignored` (ops/objects.py). Its raw outputs contain "size", float32 (B, 2), the image's height and width. They
    decode to `boxes` float32 (B, D, 4) in pixels, `scores` float32 (B, D), `classes` int32 (B, D) and `valid` bool
    (B, D), best first.

    Args:
        classes: names of the classes, or their number, without background.
        levels: the names of the backbone's levels; None for the usual ones.
        score_threshold: boxes with a lower score are removed.
        iou_threshold: a box with a higher IoU with a better one of its class is removed.
        detections: maximum boxes per image, D.

    Attributes:
        strides: the smallest and the largest stride of the usual levels.
        most: the maximum number of default levels; the deepest are used.
        agnostic: whether a better box of any class removes a box.
    """

    task = "detection"
    fields = ("classes", "boxes")
    strides: tuple[int, float] = (1, math.inf)
    most = 3
    agnostic = False
    explains = ("box",)

    def __init__(self, classes: Classes, levels, score_threshold, iou_threshold, detections, **kwargs):
        super().__init__(classes, **kwargs)
        self.levels = levels
        self.score_threshold, self.iou_threshold, self.detections = score_threshold, iou_threshold, detections

    def usual_levels(self, available: dict[str, Tap]) -> list[Tap]:
        """The levels that it taps if its arguments name none."""
        return levels_among(available, self.name, strides=self.strides)[-self.most :]

    def taps(self, available):
        return (*(self.levels or (tap.name for tap in self.usual_levels(available))), "image")

    def scored(self, outputs) -> tuple:
        """All candidates of raw outputs: boxes (B, K, 4) in pixels, scores (B, K), int32 classes (B, K)."""
        raise NotImplementedError(f"{type(self).__name__} scores no boxes.")

    def decode(self, outputs):
        boxes, scores, classes = self.scored(outputs)
        return nms.grouped(
            box_ops.clip(boxes, outputs["size"]),
            scores,
            classes,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            count=self.detections,
            agnostic=self.agnostic,
        )

    def every_box(self, outputs) -> tuple:
        """All that raw outputs predict: boxes (B, A, 4) in pixels, class logits and scores 0..1, both (B, A, C)."""
        raise NotImplementedError(f"{type(self).__name__} lists no boxes.")

    def choose(self, outputs, kind, number=None, box=None):
        """The box of the highest score, times its overlap with `box` if one is given."""
        boxes, _, scores = self.every_box(outputs)
        batch, columns = ops.shape(scores)[0], len(self.classes)
        if number is not None:
            asked = ops.one_hot(for_images(number, batch), columns, dtype="float32")
            scores = scores * ops.expand_dims(asked, 1) + ops.expand_dims(asked, 1) * 1e-30  # a score may be 0
        if box is not None:
            scores = scores * ops.expand_dims(_overlaps(boxes, box), -1)
        best = ops.cast(ops.argmax(ops.reshape(scores, (batch, -1)), axis=1), "int32")
        chosen = ops.take_along_axis(boxes, ops.reshape(best // columns, (-1, 1, 1)), axis=1)
        return Choice(kind, best % columns, box_ops.clip(chosen, outputs["size"])[:, 0])

    def score(self, outputs, choice):
        """The class logit of the prediction whose score times overlap with the choice's box is highest.

        So a neighbor may take the object over where the image has changed: as in D-RISE (Petsiuk et al. 2021,
        https://arxiv.org/abs/2006.03204, section 3.2). No gradient passes through the boxes.
        """
        boxes, logits, scores = self.every_box(outputs)
        number = ops.reshape(choice.number, (-1, 1, 1))
        number = ops.broadcast_to(number, (ops.shape(logits)[0], logits.shape[1], 1))
        logits, scores = (ops.take_along_axis(x, number, axis=2)[..., 0] for x in (logits, scores))
        scores = ops.stop_gradient(scores * _overlaps(boxes, choice.box))
        best = ops.expand_dims(ops.cast(ops.argmax(scores, axis=1), "int32"), 1)
        return ops.take_along_axis(logits, best, axis=1)[:, 0]


def _overlaps(boxes, box):
    """(B, A): the IoU of boxes (B, A, 4) with one box an image, (B, 4)."""
    return box_ops.iou(boxes, ops.expand_dims(ops.convert_to_tensor(box, "float32"), 1))[..., 0]


def image_size(features: dict, who: str) -> tuple[int, int]:
    """(height, width) of the images that the head `who` taps as "image"; a ValueError if it is not known."""
    size = tuple(features["image"].shape[1:3])
    if None in size:
        raise ValueError(f"{who}: the image's height and width must be known when the model is called.")
    return size


def pyramid_anchors(maps, size: tuple[int, int], sizes, ratios) -> list:
    """The anchors of each level, [float32 (B, A, 4) in pixels], for its features (B, H, W, C): see `grid_anchors`."""
    grids = [
        anchors.grid_anchors([tuple(x.shape[1:3])], size, [lengths], ratios)
        for x, lengths in zip(maps, sizes, strict=True)
    ]
    return [for_each(grid, ops.shape(maps[0])[0]) for grid in grids]


def by_anchor(x, columns: int):
    """A convolution's output with a row per anchor: (B, H, W, N * columns) to (B, H * W * N, columns)."""
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3] // columns, columns))


def for_each(values, batch):
    """Repeat a constant for each image of a batch: (…) to float32 (batch, …)."""
    values = ops.convert_to_tensor(values, "float32")
    return ops.tile(ops.expand_dims(values, 0), (batch, *(1,) * len(values.shape)))
