"""`PointBranch`: a mask branch that predicts the most uncertain points of each mask anew, from fine features."""

import keras
from keras import ops

from visiontasks.arguments import Count, between
from visiontasks.heads.rcnn_masks import MaskBranch, of_class
from visiontasks.losses.sigmoid import binary_cross_entropy
from visiontasks.ops import points as point_ops

LAYERS = 3  # of 256 units, appendix A of the paper
UNITS = 256


class PointBranch(MaskBranch):
    """PointRend: a Mask R-CNN's mask, doubled in size several times, and after each time refined where it is unsure.

    Kirillov et al. 2020, https://arxiv.org/abs/1912.08193, sections 3 and 4. For a point the features of the finest
    level there and the coarse mask's logit pass through three dense layers, each of which sees that logit again. It
    learns at `points` random points a box, most of them where the coarse mask is unsure. At prediction the mask is
    interpolated to twice its size and its 4 · `points` cells nearest to a logit of 0 are predicted, `refine` times.
    Here the coarse mask is `MaskBranch`'s; the dense layers see its logit for the box's class, not for all, and no
    gradient passes through it.

    Raw outputs for the losses are `logits` float32 (B, N, S, S), the coarse mask; `points` (B, N, P, 2), x and y in
    0..1 of the box; and `point_logits` (B, N, P). Those for predictions are the refined logits (B, N, S · 2ʳ, S · 2ʳ),
    and predictions `masks` of that size.

    Args:
        classes: number of classes, C.
        refine: how many times a mask is doubled.
        points: points per box that are learned.
        kwargs: those of `MaskBranch`.
    """

    loss_terms = ("mask", "points")

    def __init__(self, classes: Count, refine: between(1, 6, int) = 2, points: Count = 196, **kwargs):
        super().__init__(classes, **kwargs)
        self.refine, self.points = refine, points
        self.seeds = keras.random.SeedGenerator()
        self.hidden = [
            keras.layers.Dense(UNITS, "relu", name=f"point_fc{number}", dtype=self.dtype_policy)
            for number in range(1, LAYERS + 1)
        ]
        normal = keras.initializers.RandomNormal(stddev=0.001)
        columns = self.logits.filters
        self.point_logits = keras.layers.Dense(columns, kernel_initializer=normal, name="point_logits", dtype="float32")

    def build(self, pyramid_shape, boxes_shape):
        super().build(pyramid_shape, boxes_shape)
        (channels,) = {shape[-1] for shape in pyramid_shape.values()}
        for layer in self.hidden:
            layer.build((None, None, channels + 1))
            channels = layer.units
        self.point_logits.build((None, None, channels + 1))

    def learned(self, pyramid, boxes, classes, training=None):
        return self(pyramid, boxes, classes, training=training, learns=True)

    def per_box(self, count, training, learns):
        if not learns:
            return ()
        # a state of random numbers cannot be updated inside a condition
        shape = (count, point_ops.OVERSAMPLED * self.points, 2)
        return (keras.random.uniform(shape, seed=self.seeds if training else 0),)

    def outputs_of(self, training, learns, pyramid, boxes, images, classes, *keys):
        logits = super().outputs_of(training, learns, pyramid, boxes, images, classes)
        level = min(pyramid)
        columns = ops.zeros_like(classes) if self.agnostic else classes + 1
        coarse = ops.stop_gradient(logits)

        def predicted(points):
            """float32 (R, P): logits at points (R, P, 2) of the boxes."""
            low, extent = (ops.expand_dims(x, 1) for x in (boxes[:, :2], boxes[:, 2:] - boxes[:, :2]))
            x = point_ops.at_points(pyramid[level], (low + points * extent) / 2.0**level, images)
            known = ops.expand_dims(point_ops.at_cells(coarse, points * coarse.shape[1]), -1)
            for layer in self.hidden:
                x = layer(ops.concatenate([ops.cast(x, "float32"), known], axis=-1))
            x = ops.concatenate([ops.cast(x, "float32"), known], axis=-1)
            return of_class(x, self.point_logits.kernel, self.point_logits.bias, columns)

        if not learns:
            return self._refined(coarse, predicted)
        points = point_ops.to_learn(coarse, *keys, self.points)
        return {"logits": logits, "points": points, "point_logits": predicted(points)}

    def _refined(self, logits, predicted):
        for _ in range(self.refine):
            size = 2 * logits.shape[1]
            logits = ops.image.resize(
                ops.expand_dims(logits, -1), (size, size), "bilinear", data_format="channels_last"
            )
            logits = ops.squeeze(logits, -1)
            cells, points = point_ops.least_certain(logits, min(4 * self.points, size * size))
            logits = point_ops.with_values(logits, cells, predicted(points))
        return logits

    def coarse(self, pyramid, boxes, classes):
        # no gradient passes from the refined mask to the coarse one
        return self(pyramid, boxes, classes, training=False, learns=True)["logits"]

    def compute_losses(self, outputs, samples, targets):
        losses = super().compute_losses(outputs["logits"], samples, targets)
        crops, learned = self.crops_of(samples, targets)
        boxes, objects = (ops.reshape(samples[key], (-1, 1, 4)) for key in ("boxes", "targets"))
        points = ops.reshape(outputs["points"], (-1, self.points, 2))
        positions = boxes[..., :2] + points * (boxes[..., 2:] - boxes[..., :2])
        cells = (
            (positions - objects[..., :2]) / ops.maximum(objects[..., 2:] - objects[..., :2], 1e-6) * crops.shape[-1]
        )
        grids = ops.cast(ops.equal(ops.reshape(crops, (-1, *crops.shape[2:])), 1), "float32")
        wanted = ops.reshape(point_ops.at_cells(grids, cells, border=False), ops.shape(outputs["point_logits"]))
        learned = ops.broadcast_to(ops.expand_dims(learned, -1), ops.shape(wanted))
        return {**losses, "points": binary_cross_entropy(wanted, outputs["point_logits"], learned)}
