"""OpenPose: heat maps of keypoints and part affinity fields of limbs, refined stage by stage."""

import math

import keras
from keras import ops

from visiontasks.arguments import Channels, Classes, Count, Layers, Points, Positive, Share
from visiontasks.heads.choices import choose_joint, score_joint
from visiontasks.heads.head import Head
from visiontasks.losses.reduction import Term
from visiontasks.ops.heatmaps import gaussians
from visiontasks.ops.masks import cells_in
from visiontasks.ops.objects import objects
from visiontasks.ops.part_affinity import limb_scores, part_affinity_fields
from visiontasks.ops.peaks import local_maxima
from visiontasks.taps import levels_among

STRIDE = 8  # of the level that it taps if there is one
SPREAD = 1e-3  # of the initial weights that give maps


class OpenPose(Head):
    """Pose of several people, from the points to the people: OpenPose.

    Cao et al. 2017, https://arxiv.org/abs/1611.08050: two branches predict a heat map of each keypoint, with one more
    of the background, and a part affinity field of each limb; every stage sees both of the stage before. On `vgg19`
    with tap conv4_2 and a neck it is the published network for COCO. People are assembled on the host, see
    inference/assembling.py.

    It learns from `boxes`, float (B, G, 4) in pixels, `classes`, int (B, G), -1 = no object, `keypoints`, float (B, G,
    K, 3), and optionally `known` and `ignored` (ops/objects.py). People are of the first class; what is of another one
    is background. Cells whose centers lie in the box of an ignored region, or of a person without a labeled keypoint,
    learn nothing. If not all people are known, only the cells in the boxes of the people learn.

    Both losses are the squared errors, summed over all stages, cells and channels as in the paper (equation 5), divided
    by the number of labeled images, of stages, and by K π σ², which is what the Gaussians of one person add up to. So
    the heat maps of an image in which nothing is found have a loss of about the number of people in it.

    Raw outputs are {"heat": [float32 (B, h, w, K + 1), …], "fields": [float32 (B, h, w, 2 L), …]}, one per stage, x and
    y of the limbs in the order of `Skeleton.assembly`. They decode to `peaks`, float32 (B, K, P, 3), x and y in pixels
    and score, best first, 0 where there is none; and `limb_scores`, float32 (B, L, P, P), from peak a of the first
    keypoint to peak b of the second; 0: no limb; and, to be drawn, `heat`, float32 (B, h, w), the highest of all
    keypoints, and `field`, (B, h, w, 2), the sum of all limbs. With `neck` K is one more than the skeleton has.

    Args:
        classes: names of the classes, or their number; the first is that of the people.
        tap: the backbone's output to use; by default the level whose stride is nearest to 8.
        filters: of the 7×7 convolutions; others have twice or four times as many.
        stages: of both branches.
        neck: whether to add the keypoint `neck`, the mean of both shoulders, to a skeleton that has these and no neck;
            the predictions of people are without it.
        sigma: of the Gaussians, in pixels.
        width: cells from the line of a limb to the border of its field.
        people: most peaks of a keypoint, P.
        score_threshold: peaks with a lower value are removed.
        limb_threshold: a point of a limb counts where the field agrees by more; more than 80 % of the points must.
        skeleton: of the keypoints; from the data in a recipe. None: COCO's 17.

    Raises:
        ValueError: the skeleton has no limbs, or the tap is no level and the size of images is not known.
    """

    task = "pose"
    fields = ("classes", "boxes", "keypoints")
    loss_terms = ("heat", "fields")
    explains = ("joint",)

    def __init__(
        self,
        classes: Classes,
        tap: str | None = None,
        filters: Channels = 128,
        stages: Layers = 6,
        neck: bool = False,
        sigma: Positive = 7.0,
        width: Positive = 1.0,
        people: Count = 20,
        score_threshold: Share = 0.1,
        limb_threshold: Share = 0.05,
        skeleton: Points | None = None,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.tap, self.filters, self.stages, self.neck = tap, filters, stages, neck
        self.sigma, self.width, self.people = sigma, width, people
        self.score_threshold, self.limb_threshold = score_threshold, limb_threshold
        if not self.skeleton.limbs:
            raise ValueError(
                "skeleton: expected limbs, because people are assembled along them; got none. Give the data's source "
                "skeleton={limbs: [[NAME, NAME], …]}."
            )
        points = self.skeleton.with_neck() if neck else self.skeleton
        self.points, self.limbs = len(points), points.assembly()[0]

    def taps(self, available):
        usual = min(levels_among(available, self.name), key=lambda tap: abs(math.log2(tap.stride / STRIDE)))
        return self.tap or usual.name, "image"

    def build(self, taps):
        super().build(taps)
        (tap,) = (tap for tap in taps.values() if tap.name != "image")
        self.stride = tap.stride or self._stride(tap, taps["image"])
        first = [self._conv(2 * self.filters, 3, "conv4_3_CPM"), self._conv(self.filters, 3, "conv4_4_CPM")]
        self.first, channels = first, self._build(first, tap.channels)
        counts = {"fields": 2 * len(self.limbs), "heat": self.points + 1}
        self.branches, seen = [], channels
        for stage in range(1, self.stages + 1):
            branches = {name: self._branch(name, stage, count) for name, count in counts.items()}
            for layers in branches.values():
                self._build(layers, seen)
            branches["heat"][-1].bias.assign([0.0] * self.points + [1.0])  # at first all is background
            self.branches.append(branches)
            seen = channels + sum(counts.values())

    def _stride(self, tap, image):
        if None in (*tap.size, *image.size):
            raise ValueError(
                f"tap: {tap.name} is no level, so its stride is known only for images of one size. Build the backbone "
                "with that size, as input_shape=(368, 368, 3), or tap a level such as C3."
            )
        return 2 ** round(math.log2(image.size[0] / tap.size[0]))

    def _branch(self, name, stage, count):
        """The convolutions of one branch, named as in the published file."""
        end = "L1" if name == "fields" else "L2"
        if stage == 1:
            layers = [self._conv(self.filters, 3, f"conv5_{i}_CPM_{end}") for i in (1, 2, 3)]
            layers.append(self._conv(4 * self.filters, 1, f"conv5_4_CPM_{end}"))
        else:
            layers = [self._conv(self.filters, 7, f"Mconv{i}_stage{stage}_{end}") for i in range(1, 6)]
            layers.append(self._conv(self.filters, 1, f"Mconv6_stage{stage}_{end}"))
        last = keras.layers.Conv2D(
            count,
            1,
            kernel_initializer=keras.initializers.RandomNormal(stddev=SPREAD),
            dtype="float32",  # whatever the policy: exact places and squared errors follow
            name=f"conv5_5_CPM_{end}" if stage == 1 else f"Mconv7_stage{stage}_{end}",
        )
        return [*layers, last]

    def _conv(self, filters, kernel, name):
        half = {"dtype": self.dtype_policy, "kernel_initializer": "he_normal"}
        return keras.layers.Conv2D(filters, kernel, padding="same", activation="relu", name=name, **half)

    def _build(self, layers, channels):
        """Build convolutions that follow each other; the number of channels of the last one."""
        for layer in layers:
            layer.build((None, None, None, channels))
            channels = layer.filters
        return channels

    def call(self, features, training=None):
        (x,) = (value for tap, value in features.items() if tap != "image")
        x = seen = _through(self.first, x)
        outputs = {"heat": [], "fields": []}
        for branches in self.branches:
            maps = {name: _through(layers, seen) for name, layers in branches.items()}
            for name, values in maps.items():
                outputs[name].append(values)
            seen = ops.concatenate([ops.cast(maps["fields"], x.dtype), ops.cast(maps["heat"], x.dtype), x], axis=-1)
        return outputs

    def truth(self, targets: dict, size: tuple[int, int]):
        """What the maps of a batch should be, and which of their cells learn.

        Args:
            targets: of a batch, by field name.
            size: (h, w) of the maps, in cells.

        Returns:
            ({"heat": float32 (B, h, w, K + 1), "fields": float32 (B, h, w, 2 L)}, bool (B, h, w), and bool (B,): the
            labeled images).
        """
        target, points = objects(targets, len(self.classes)), ops.cast(targets["keypoints"], "float32")
        first = target.classes == 0
        people = ops.logical_and(first, target.valid)
        posed = ops.logical_and(people, ops.any(points[..., 2] > 0, axis=-1))
        points = self._with_neck(points)
        labeled = ops.logical_and(points[..., 2] > 0, ops.expand_dims(posed, -1))
        heat = gaussians(points[..., :2] / self.stride, labeled, size, self.sigma / self.stride)
        heat = ops.concatenate([heat, 1.0 - ops.max(heat, axis=-1, keepdims=True)], axis=-1)
        fields = part_affinity_fields(points, self.limbs, size, self.stride, self.width * self.stride, posed)
        maps = {"heat": heat, "fields": ops.reshape(fields, (-1, *size, 2 * len(self.limbs)))}
        known = target.known[:, 0]
        left_out = ops.logical_or(
            ops.logical_and(first, target.ignored), ops.logical_and(people, ops.logical_not(posed))
        )
        learned = ops.logical_or(ops.reshape(known, (-1, 1, 1)), cells_in(target.boxes, posed, size, self.stride))
        learned = ops.logical_and(learned, ops.logical_not(cells_in(target.boxes, left_out, size, self.stride)))
        return maps, learned, ops.logical_or(known, ops.any(posed, axis=-1))

    def _with_neck(self, points):
        """Points (B, G, K, 3) with the neck, if it is added: labeled if both shoulders are."""
        if self.points == points.shape[2]:
            return points
        left, right = (points[:, :, i] for i in self.skeleton.index_of("left_shoulder", "right_shoulder"))
        labeled = ops.minimum(left[..., 2:], right[..., 2:])
        neck = ops.concatenate([(left[..., :2] + right[..., :2]) / 2, labeled], axis=-1)
        return ops.concatenate([points, ops.expand_dims(neck, 2)], axis=2)

    def compute_losses(self, targets, outputs, training=True):
        maps, learned, labeled = self.truth(targets, tuple(outputs["heat"][0].shape[1:3]))
        # the sum of the squares of a Gaussian of width σ is π σ²
        scale = self.stages * self.points * math.pi * (self.sigma / self.stride) ** 2
        count, terms = ops.sum(ops.cast(labeled, "float32")), {}
        for name, truth in maps.items():
            errors = sum(ops.sum(ops.square(ops.cast(stage, "float32") - truth), axis=-1) for stage in outputs[name])
            terms[name] = Term(ops.sum(ops.where(learned, errors, 0.0)) / scale, count)
        return terms

    def decode(self, outputs):
        heat, fields = (ops.cast(outputs[name][-1], "float32") for name in ("heat", "fields"))
        peaks = local_maxima(heat[..., :-1], self.people, self.score_threshold, self.stride)
        fields = ops.reshape(fields, (-1, *fields.shape[1:3], len(self.limbs), 2))
        scores = limb_scores(fields, peaks, self.limbs, self.stride, threshold=self.limb_threshold)
        shown = {"heat": ops.clip(ops.max(heat[..., :-1], axis=-1), 0.0, 1.0), "field": ops.sum(fields, axis=3)}
        return {"peaks": peaks, "limb_scores": ops.maximum(scores, 0.0), **shown}

    def names_of(self, kind):
        return tuple(self.skeleton.with_neck() if self.neck else self.skeleton)

    def choose(self, outputs, kind, number=None, box=None):
        return choose_joint(outputs["heat"][-1][..., :-1], kind, number, box, self.stride)

    def score(self, outputs, choice):
        return score_joint(outputs["heat"][-1][..., :-1], choice)


def _through(layers, x):
    for layer in layers:
        x = layer(x)
    return x
