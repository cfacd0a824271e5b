"""The first YOLO: a coarse grid over the image, each cell of which predicts a few boxes and one class."""

import math

from keras import layers, ops

from visiontasks.arguments import ChannelCounts, Channels, Classes, Count, NonNegative, Share, between
from visiontasks.heads.detection import DetectionHead, for_each, image_size
from visiontasks.losses.reduction import over
from visiontasks.ops import assignment, matching, nms
from visiontasks.ops import boxes as box_ops
from visiontasks.ops.objects import objects

NUMBERS = 5  # of a box: x, y, the roots of width and height, confidence


class YOLOV1(DetectionHead):
    """Object detection from the whole image at once, on a coarse grid: the first YOLO.

    Redmon et al. 2016, https://arxiv.org/abs/1506.02640. 3×3 convolutions on the deepest level of any backbone, the
    second with stride 2, so that a level of stride 32 gives one cell per 64 pixels: 7×7 at the paper's 448×448. Dense
    layers follow, so all images must have one size. An object belongs to the cell that contains its center. Of several
    objects in one cell, the largest is learned; the paper has only one.

    If a class is not known, boxes without an object learn no confidence in that image, and cells with an object do not
    learn that class's probability. A predicted box without an object learns nothing if half or more of it lies in an
    ignored region.

    Raw outputs are {"boxes": float32 (B, S, S, boxes, 5): x and y of the center from the cell's top left corner in
    cells, the square roots of width and height as shares of the image's, as in the authors' program, and the
    confidence; "classes": float32 (B, S, S, C), the classes' probabilities, without an activation; "size"}. A score is
    confidence times probability.

    Args:
        classes: names of the classes, or their number.
        tap: the backbone's level to use; by default the deepest.
        boxes: boxes per cell.
        filters: of each 3×3 convolution.
        hidden: units of each dense layer before the last one.
        dropout: share of the first dense layer's outputs dropped in training.
        lambda_coord: factor of the errors of centers and sizes.
        lambda_noobj: factor of the errors of the confidence of boxes without an object.
        score_threshold: boxes with a lower score are removed.
        iou_threshold: a box with a higher IoU with a better one of its class is removed.
        detections: maximum boxes per image, D.

    Raises:
        ValueError: an argument is out of bounds, or the images have no fixed size.
    """

    loss_terms = ("coordinates", "confidence", "classification")
    most = 1
    divisible = False
    any_size = False

    def __init__(
        self,
        classes: Classes,
        tap: str | None = None,
        boxes: between(1, 100, int) = 2,
        filters: ChannelCounts = (1024, 1024, 1024, 1024),
        hidden: tuple[Channels, ...] = (4096,),
        dropout: Share = 0.5,
        lambda_coord: NonNegative = 5.0,
        lambda_noobj: NonNegative = 0.5,
        score_threshold: Share = 0.01,
        iou_threshold: Share = 0.5,
        detections: Count = 100,
        **kwargs,
    ):
        super().__init__(classes, tap and (tap,), score_threshold, iou_threshold, detections, **kwargs)
        self.boxes, self.filters, self.hidden, self.dropout = boxes, filters, hidden, dropout
        self.lambda_coord, self.lambda_noobj = lambda_coord, lambda_noobj

    def build(self, taps):
        super().build(taps)
        if any(None in tap.size for tap in taps.values()):
            raise ValueError(
                "yolo_v1: its dense layers need images of one size; build the backbone with that size, as "
                "input_shape=(448, 448, 3)."
            )
        half = {"dtype": self.dtype_policy}
        (shape,) = (tap.shape for tap in taps.values() if tap.name != "image")
        self.trunk = []
        for i, count in enumerate(self.filters):
            stride = 2 if i == min(1, len(self.filters) - 1) else 1
            # pad all borders equally; Keras's "same" pads an even size at one border only
            self.trunk.append(layers.ZeroPadding2D(1, **half))
            self.trunk.append(layers.Conv2D(count, 3, strides=stride, name=f"conv{i + 1}", **half))
            self.trunk.append(layers.LeakyReLU(0.1, **half))
        grid = shape
        for layer in self.trunk:
            grid = layer.compute_output_shape(grid)
        self.grid = tuple(grid[1:3])
        self.trunk.append(layers.Flatten(**half))
        for i, units in enumerate(self.hidden):
            self.trunk.append(layers.Dense(units, name=f"dense{i + 1}", **half))
            self.trunk.append(layers.LeakyReLU(0.1, **half))
            if i == 0:
                self.trunk.append(layers.Dropout(self.dropout, name="dropout", **half))
        numbers = math.prod(self.grid) * (NUMBERS * self.boxes + len(self.classes))
        # float32 whatever the policy: the outputs are squared and compared
        self.trunk.append(layers.Dense(numbers, dtype="float32", name="predictions"))
        for layer in self.trunk:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, features, training=None):
        (x,) = (value for tap, value in features.items() if tap != "image")
        for layer in self.trunk:
            x = layer(x, training=training) if isinstance(layer, layers.Dropout) else layer(x)
        x = ops.reshape(x, (-1, *self.grid, NUMBERS * self.boxes + len(self.classes)))
        return {
            "boxes": ops.reshape(x[..., : NUMBERS * self.boxes], (-1, *self.grid, self.boxes, NUMBERS)),
            "classes": x[..., NUMBERS * self.boxes :],
            "size": for_each(image_size(features, "yolo_v1"), ops.shape(x)[0]),
        }

    def _boxes(self, outputs):
        """float32 (B, S, S, boxes, 4) in pixels, not clipped yet."""
        rows, columns = outputs["boxes"].shape[1:3]
        height, width = (ops.reshape(outputs["size"][:, i], (-1, 1, 1, 1)) for i in (0, 1))
        column = ops.reshape(ops.arange(columns, dtype="float32"), (1, 1, columns, 1))
        row = ops.reshape(ops.arange(rows, dtype="float32"), (1, rows, 1, 1))
        x = (outputs["boxes"][..., 0] + column) * width / columns
        y = (outputs["boxes"][..., 1] + row) * height / rows
        half_width, half_height = outputs["boxes"][..., 2] ** 2 * width / 2, outputs["boxes"][..., 3] ** 2 * height / 2
        return ops.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)

    def compute_losses(self, targets, outputs, training=True):
        predicted, target = outputs["boxes"], objects(targets, len(self.classes))
        grid = tuple(predicted.shape[1:3])
        owners = assignment.by_cell(target.boxes, target.valid, grid, outputs["size"])

        def of_cells(values):
            return ops.reshape(matching.take(values, owners), (-1, *grid, *values.shape[2:]))

        occupied = ops.cast(ops.reshape(owners, (-1, *grid)) > matching.BACKGROUND, "float32")
        cell_boxes = of_cells(target.boxes)
        predicted_boxes = ops.stop_gradient(self._boxes(outputs))
        overlaps = box_ops.paired_iou(predicted_boxes, ops.expand_dims(cell_boxes, -2))
        # the box of a cell with the highest overlap is responsible for the object; of equal ones the first
        responsible = ops.one_hot(ops.argmax(overlaps, axis=-1), self.boxes, dtype="float32")
        responsible = responsible * ops.expand_dims(occupied, -1)
        expected = _numbers(cell_boxes, outputs["size"])
        coordinates = ops.sum((predicted[..., :4] - ops.expand_dims(expected, -2)) ** 2, axis=-1)
        present, absent = (predicted[..., 4] - overlaps) ** 2, predicted[..., 4] ** 2
        # if a class is not known, a box without an object may still contain one of that class
        ignored = matching.covered(
            target.boxes, target.ignored, ops.reshape(predicted_boxes, (-1, math.prod(grid) * self.boxes, 4))
        )
        background = ops.logical_and(ops.expand_dims(target.complete, -1), ops.logical_not(ignored))
        background = ops.reshape(ops.cast(background, "float32"), (-1, *grid, self.boxes)) * (1 - responsible)
        labels = ops.one_hot(of_cells(target.classes), len(self.classes), dtype="float32")
        learned = ops.logical_or(ops.reshape(target.known, (-1, 1, 1, len(self.classes))), labels > 0)
        misjudged = ops.where(learned, (outputs["classes"] - labels) ** 2, 0.0)

        def term(errors):
            return over(ops.sum(ops.reshape(errors, (-1, math.prod(errors.shape[1:]))), axis=-1), target.labeled)

        return {
            "coordinates": term(self.lambda_coord * responsible * coordinates),
            "confidence": term(responsible * present + self.lambda_noobj * background * absent),
            "classification": term(ops.sum(misjudged, axis=-1) * occupied),
        }

    def scored(self, outputs):
        count = math.prod(outputs["boxes"].shape[1:3]) * self.boxes
        confidence = ops.clip(outputs["boxes"][..., 4:], 0.0, 1.0)
        scores = confidence * ops.expand_dims(ops.clip(outputs["classes"], 0.0, 1.0), -2)
        scores = ops.reshape(scores, (-1, count, len(self.classes)))
        scores, rows, classes = nms.best_pairs(scores, count * len(self.classes))
        return nms.gather(ops.reshape(self._boxes(outputs), (-1, count, 4)), rows), scores, classes

    def every_box(self, outputs):
        """Its numbers have no activation: instead of a logit, the product of confidence and probability as they are."""
        count = math.prod(outputs["boxes"].shape[1:3]) * self.boxes
        products = outputs["boxes"][..., 4:] * ops.expand_dims(outputs["classes"], -2)
        products = ops.reshape(products, (-1, count, len(self.classes)))
        return ops.reshape(self._boxes(outputs), (-1, count, 4)), products, ops.clip(products, 0.0, 1.0)


def _numbers(boxes, size):
    """A cell's targets for the box (B, S, S, 4) whose center it contains: x, y and the roots of width and height."""
    rows, columns = boxes.shape[1:3]
    height, width = (ops.reshape(size[:, i], (-1, 1, 1)) for i in (0, 1))
    x1, y1, x2, y2 = (boxes[..., i] for i in range(4))
    x = (x1 + x2) / 2 / width * columns - ops.arange(columns, dtype="float32")
    y = (y1 + y2) / 2 / height * rows - ops.reshape(ops.arange(rows, dtype="float32"), (rows, 1))
    shares = ((x2 - x1) / width, (y2 - y1) / height)
    roots = (ops.sqrt(ops.maximum(share, 0.0)) for share in shares)  # no NaN for x2 < x1
    return ops.stack([x, y, *roots], axis=-1)
