"""Heat maps of one object's keypoints: Simple Baselines, and SimCC's classification along each axis."""

import math
from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import Channels, Classes, Level, Points, Positive, between, options
from visiontasks.errors import UserError
from visiontasks.heads.choices import (
    Choice,
    choose_joint,
    for_images,
    mean_over,
    of_number,
    peaks,
    score_joint,
    strongest,
)
from visiontasks.heads.detection import for_each, image_size
from visiontasks.heads.head import Head
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.losses.reduction import over
from visiontasks.ops import boxes as box_ops
from visiontasks.ops import heatmaps, simcc
from visiontasks.ops.objects import objects
from visiontasks.taps import levels_among

SimCC = options(split=Positive, sigma=Positive)  # of a recipe's `simcc`
BOXED = 0.2  # an object's box lies around the keypoints of this score and above


class PoseHeatmap(Head):
    """The keypoints of one object that fills the image, top-down: a heat map for each keypoint.

    Xiao et al. 2018, https://arxiv.org/abs/1804.06208, section 2: transposed convolutions on the backbone's deepest
    level, three of them to a quarter of the image's size, and a Gaussian around each keypoint to learn. The loss is the
    squared error of a map, divided by that of an empty one; keypoints that are not labeled have none. Several objects
    of an image are several samples: `data.resize` is object, and `predict` needs boxes, such as a detector's.

    With `simcc` a keypoint is a class along each axis instead (Li et al. 2022, https://arxiv.org/abs/2107.03332): two
    dense layers on a small map of each keypoint, without transposed convolutions, and the Kullback-Leibler divergence
    from a Gaussian over the classes.

    Raw outputs are {"maps": float32 (B, h, w, K), "size": (B, 2), the image's}; with `simcc` logits {"x": float32 (B,
    K, W · split), "y": (B, K, H · split)}.
    Predictions are those of the task `pose`, for one object: `keypoints` float32 (B, 1, K, 3), x and y in pixels and
    score, the box around them, and the mean of their scores; without `simcc` also `heat`, float32 (B, h, w), the
    highest of all maps, each scaled so that its peak is the score.

    Args:
        classes: names of the classes of objects, or their number. It does not tell them apart.
        skeleton: of the keypoints; from the data in a recipe. None: COCO's 17.
        level: the backbone's level; None for the deepest.
        filters: of each transposed convolution.
        layers: number of transposed convolutions, each of which doubles the size; 0 for none.
        sigma: of the Gaussians, in cells of the map.
        refinement: how a peak is found more exactly than its cell: `visiontasks.ops.heatmaps.peaks`.
        loss: squared, as in the paper; or softmax: the Kullback-Leibler divergence of the softmax over a map's cells
            from the Gaussian. It learns in fewer steps, and a score estimates the probability that a keypoint is near.
        simcc: its options, {} for their defaults; None: heat maps. `split` (2) classes per pixel; `sigma` (6) of the
            Gaussian, in classes.
    """

    task = "pose"
    fields = ("classes", "boxes", "keypoints")
    alone = True
    explains = ("joint",)

    def __init__(
        self,
        classes: Classes,
        skeleton: Points | None = None,
        level: Level | None = None,
        filters: Channels = 256,
        layers: between(0, 6, int) = 3,
        sigma: Positive = 2.0,
        refinement: Literal[heatmaps.REFINEMENTS] = "dark",
        loss: Literal["squared", "softmax"] = "squared",
        simcc: SimCC | None = None,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.level, self.sigma, self.refinement, self.loss = level, sigma, refinement, loss
        self.simcc = None if simcc is None else {"split": 2.0, "sigma": 6.0, **simcc}
        self.points = len(self.skeleton)
        normal = keras.initializers.RandomNormal
        half = {"dtype": self.dtype_policy}
        self.upsampling = [
            keras.layers.Conv2DTranspose(
                filters, 4, 2, "same", use_bias=False, kernel_initializer=normal(stddev=0.001), name=f"up{n}", **half
            )
            for n in range(1, layers + 1)
            if simcc is None
        ]
        self.norms = [
            BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"bn{number}", **half)
            for number in range(1, len(self.upsampling) + 1)
        ]
        # float32 whatever the policy: peaks are searched in it, and exponentials follow
        self.maps = keras.layers.Conv2D(
            self.points, 1, kernel_initializer=normal(stddev=0.001), name="maps", dtype="float32"
        )
        self.axes = {}

    @property
    def loss_terms(self):
        return ("keypoints",)

    def taps(self, available):
        return (self.level or levels_among(available, self.name)[-1].name, "image")

    def build(self, taps):
        super().build(taps)
        (tap,) = self.tapped
        self._level, shape = tap.name, tap.shape
        for conv, norm in zip(self.upsampling, self.norms, strict=True):
            conv.build(shape)
            shape = conv.compute_output_shape(shape)
            norm.build(shape)
        self.maps.build(shape)
        self.stride = tap.stride / 2 ** len(self.upsampling)
        if self.simcc is not None:
            self._build_axes(shape, taps["image"])

    def _build_axes(self, shape, image):
        if None in (*shape[1:3], *image.size):
            raise ValueError("simcc: the image's height and width must be known when the model is built; set its size.")
        height, width = (math.ceil(length * self.simcc["split"]) for length in image.size)
        # the map of a keypoint, flat, has as many numbers as it has cells
        for name, count in (("x", width), ("y", height)):
            layer = keras.layers.Dense(count, name=name, dtype="float32")
            layer.build((None, None, shape[1] * shape[2]))
            self.axes[name] = layer

    def call(self, features, training=None):
        x = features[self._level]
        for conv, norm in zip(self.upsampling, self.norms, strict=True):
            x = ops.relu(norm(conv(x), training=training))
        maps = self.maps(x)
        if self.simcc is None:
            return {"maps": maps, "size": for_each(image_size(features, self.name), ops.shape(maps)[0])}
        return {name: layer(self._flat(maps)) for name, layer in self.axes.items()}

    def compute_losses(self, targets, outputs, training=True):
        target = objects(targets, len(self.classes))
        keypoints = ops.cast(targets["keypoints"], "float32")
        learned = ops.logical_and(keypoints[..., 2] > 0, ops.expand_dims(target.valid, -1))
        if self.simcc is not None:
            return {"keypoints": self._axes_loss(keypoints, learned, outputs)}
        maps = outputs["maps"]
        wanted = heatmaps.gaussians(keypoints[..., :2] / self.stride, learned, tuple(maps.shape[1:3]), self.sigma)
        if self.loss == "softmax":
            errors = divergence(
                self._flat(wanted / ops.maximum(ops.sum(wanted, axis=(1, 2), keepdims=True), 1e-9)), self._flat(maps)
            )
        else:
            empty = math.pi * self.sigma**2  # the sum of the squares of a Gaussian
            errors = ops.sum(ops.square(maps - wanted), axis=(1, 2)) / empty
        return {"keypoints": over(errors, ops.any(learned, axis=1))}

    def _flat(self, maps):
        """(B, h, w, K) to (B, K, h · w)."""
        return ops.reshape(ops.transpose(maps, (0, 3, 1, 2)), (-1, self.points, maps.shape[1] * maps.shape[2]))

    def _axes_loss(self, keypoints, learned, outputs):
        first = ops.argmax(ops.cast(learned, "int32"), axis=1)  # of one object, or of the one that has the keypoint
        rows = ops.take_along_axis(keypoints, ops.reshape(first, (-1, 1, self.points, 1)), axis=1)[:, 0]
        total = 0.0
        for number, name in enumerate(("x", "y")):
            logits, sigma = outputs[name], self.simcc["sigma"]
            wanted = simcc.targets(rows[..., number] * self.simcc["split"], logits.shape[-1], sigma)
            total += divergence(wanted, logits)
        return over(total, ops.any(learned, axis=1))

    def decode(self, outputs):
        shown = {}
        if self.simcc is None:
            size = outputs["size"]
            found, shown["heat"] = self._peaks(outputs["maps"])
            scale = self.stride
        else:
            size = ops.stack([ops.cast(outputs[name].shape[-1], "float32") for name in ("y", "x")])
            size = for_each(size / self.simcc["split"], ops.shape(outputs["x"])[0])
            (x, of_x), (y, of_y) = (simcc.coordinate(outputs[name], self.simcc["sigma"]) for name in ("x", "y"))
            found, scale = ops.stack([x, y, of_x * of_y], axis=-1), 1 / self.simcc["split"]
        scores = ops.clip(found[..., 2], 0.0, 1.0)
        points = ops.concatenate([found[..., :2] * scale, ops.expand_dims(scores, -1)], axis=-1)
        boxes = heatmaps.boxes_around(points, BOXED)
        one = ops.ones_like(scores[:, :1], dtype="int32")
        return {
            "boxes": box_ops.clip(ops.expand_dims(boxes, 1), size),
            "scores": ops.mean(scores, axis=-1, keepdims=True),
            "classes": one - 1,
            "valid": one > 0,
            "keypoints": ops.expand_dims(points, 1),
            **shown,
        }

    def choose(self, outputs, kind, number=None, box=None):
        if self.simcc is None:
            return choose_joint(outputs["maps"], kind, number, box, self.stride)
        if box is not None:
            raise UserError(f"{self.name} with simcc has no map to look at a box in; leave it out.", "box")
        logits = {name: ops.swapaxes(outputs[name], 1, 2) for name in ("x", "y")}
        if number is None:
            number = strongest(sum(ops.max(ops.log_softmax(outputs[name], axis=-1), axis=-1) for name in logits))
        number = for_images(number, ops.shape(outputs["x"])[0])
        cells = [peaks(of_number(logits[name], number)) for name in logits]
        return Choice(kind, number, cells=ops.concatenate(cells, axis=1))

    def score(self, outputs, choice):
        if self.simcc is None:
            return score_joint(outputs["maps"], choice)
        logits = ops.swapaxes(ops.concatenate([outputs["x"], outputs["y"]], axis=2), 1, 2)
        return mean_over(of_number(logits, choice.number), choice.cells)

    def _peaks(self, maps):
        if self.loss == "squared":
            return heatmaps.peaks(maps, self.refinement, self.sigma), ops.clip(ops.max(maps, axis=-1), 0.0, 1.0)
        shape = ops.shape(maps)
        maps = ops.reshape(ops.softmax(ops.reshape(maps, (shape[0], -1, self.points)), axis=1), shape)
        found = heatmaps.peaks(maps, self.refinement, self.sigma)
        best = ops.cast(ops.argmax(ops.reshape(maps, (shape[0], -1, self.points)), axis=1), "int32")
        score = heatmaps.around(maps, best, math.ceil(simcc.NEAR * self.sigma))
        heat = ops.max(maps * (score / ops.maximum(found[..., 2], 1e-9))[:, None, None], axis=-1)
        return ops.concatenate([found[..., :2], ops.expand_dims(score, -1)], axis=-1), heat


def divergence(targets, logits):
    """Kullback-Leibler divergence of the softmax of logits (…, C) from the targets, which sum to 1: float32 (…)."""
    return ops.sum(targets * (ops.log(ops.maximum(targets, 1e-12)) - ops.log_softmax(logits, axis=-1)), axis=-1)
