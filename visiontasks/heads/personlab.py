"""PersonLab: pose and instance masks of several people, bottom-up, from fields of offsets."""

import math

import keras
from keras import ops

from visiontasks.arguments import Channels, Classes, Count, Levels, MoreLayers, NonNegative, Points, Positive, Share
from visiontasks.heads.choices import Choice, choose_joint, for_images, inside, mean_over, peaks, score_joint
from visiontasks.heads.detection import for_each, image_size
from visiontasks.heads.head import Head
from visiontasks.heads.rcnn_branches import apply_stack, build_stack, conv_stack
from visiontasks.losses.reduction import Term, over
from visiontasks.ops import boxes as box_ops
from visiontasks.ops import nms, offset_fields
from visiontasks.ops.expected_oks import expected_oks
from visiontasks.ops.heatmaps import boxes_around
from visiontasks.ops.masks import cells_in, coverage
from visiontasks.ops.objects import objects
from visiontasks.ops.tree_decoding import decode_people, people_of_cells, person_scores
from visiontasks.sample import NO_MASK
from visiontasks.taps import levels_among

STRIDE = 8  # of the level that it uses by default, or the next
WEIGHTS = {"heat": 4.0, "short": 1.0, "mid": 0.25, "segmentation": 2.0, "long": 0.125}  # the paper's, section 4
REFINED = 2  # times that short offsets correct a place
BOXED = 0.2  # a person's box lies around the keypoints of this score and above
BELONGS = 0.05  # the probability from which a cell belongs to someone; a pixel then needs 0.5


class PersonLab(Head):
    """Pose of several people, without boxes before: each keypoint's heat map, and offsets from one to the next.

    Papandreou et al. 2018, https://arxiv.org/abs/1803.08225. In each cell a heat map says whether it lies in the disc
    around a keypoint, a short offset where that keypoint is, and a mid offset for each edge of the skeleton's tree
    where the other end is. With masks, the segmentation says whether it lies on a person, and a long offset where that
    person's keypoint is. The paper learns maps of the image's size; here they have that of the finest level, and the
    segmentation is the share of a cell that people cover.

    It finds objects of the first class, people; others are background. It learns nothing, except in the discs and
    masks, where people are not all listed, nor in ignored boxes and, for the heat map, boxes of people without a
    labeled keypoint.

    Raw outputs are {"heat": float32 logits (B, h, w, K), "short": float32 (B, h, w, K, 2) and "mid": float32 (B, h, w,
    K - 1, 2, 2) in pixels, see ops/offset_fields.py, "size"}; with masks also "segmentation": float32 logits (B, h, w)
    and "long": float32 (B, h, w, K, 2). They decode to {"keypoints": float32 (B, D, K, 3) x, y, score; "boxes": float32
    (B, D, 4), around the keypoints; "scores": float32 (B, D), the mean of the keypoints', which are expected OKS;
    "classes": int32 (B, D), "valid": bool (B, D)}, best first, and "heat": float32 (B, h, w), the highest of the heat
    maps, to be drawn; with masks also "people": int32 (B, h, w), the row of the person that a cell belongs to, or -1,
    and "segmentation": float32 (B, h, w), the probability of a person.

    Args:
        classes: names of the classes, or their number.
        levels: the backbone's levels: the finest gives the cells, the others are enlarged and concatenated. By default
            the one of stride 8 or, if there is none, the next deeper one. The paper's network has stride 8 or 16.
        layers: number of 3×3 convolutions before the maps; the paper has none.
        filters: of each.
        batch_norm: normalize after each.
        masks: also learn and predict instance masks.
        radius: of the discs, in pixels; 32 is for people of 100 to 400 pixels.
        people: maximum people per image, D.
        seeds: number of local maxima from which people are tried, the best of an image.
        seed_threshold: the least Hough score of a seed.
        nms_radius: in pixels; a seed within it of an earlier person's same keypoint is dropped.
        mask_distance: a cell with a larger mean distance of its long offsets from a person's keypoints, in square roots
            of the area of these keypoints' box, does not belong to that person.
        skeleton: of the keypoints; from the data in a recipe. Its limbs must connect all. None: COCO's 17.
    """

    task = "pose"
    fields = ("classes", "boxes", "keypoints")
    fields_with = {"masks": ("instance_masks",)}
    tasks_with = {"masks": "posed_instances"}

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        layers: MoreLayers = 0,
        filters: Channels = 128,
        batch_norm: bool = False,
        masks: bool = False,
        radius: Positive = 32.0,
        people: Count = 20,
        seeds: Count = 200,
        seed_threshold: Share = 0.01,
        nms_radius: NonNegative = 10.0,
        mask_distance: Positive = 0.25,
        skeleton: Points | None = None,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.levels, self.masks, self.radius, self.people = levels, masks, radius, people
        self.seeds, self.seed_threshold, self.nms_radius = seeds, seed_threshold, nms_radius
        self.mask_distance = mask_distance
        self.edges = self.skeleton.tree()
        points = len(self.skeleton)
        # an output's shape in each cell
        self._forms = {"heat": (points,), "short": (points, 2), "mid": (points - 1, 2, 2)}
        self._forms |= {"segmentation": (), "long": (points, 2)} if masks else {}
        self.convs, self.norms = conv_stack(layers, filters, batch_norm, self.dtype_policy)
        self.maps = [
            keras.layers.Conv2D(math.prod(form), 1, name=name, dtype="float32")
            for name, form in self._forms.items()
            if 0 not in form
        ]

    @property
    def loss_terms(self):
        return tuple(self._forms)

    def taps(self, available):
        if self.levels:
            return (*self.levels, "image")
        found = levels_among(available, self.name)
        return next((tap for tap in found if tap.stride >= STRIDE), found[-1]).name, "image"

    def build(self, taps):
        super().build(taps)
        first, *_ = self.tapped
        self.stride = first.stride
        shape = (None, *first.size, sum(tap.channels for tap in self.tapped))
        shape = build_stack(self.convs, self.norms, shape)
        for layer in self.maps:
            layer.build(shape)

    def call(self, features, training=None):
        size = image_size(features, "personlab")
        x, *deeper = (features[tap.name] for tap in self.tapped)
        cells = tuple(x.shape[1:3])
        x = ops.concatenate([x, *(_enlarged(level, cells) for level in deeper)], axis=-1) if deeper else x
        x = apply_stack(self.convs, self.norms, x, None, training)
        batch, layers = ops.shape(x)[0], {layer.name: layer for layer in self.maps}
        outputs = {"size": for_each(size, batch)}
        for name, form in self._forms.items():
            # a single keypoint has no edges
            value = layers[name](x) if name in layers else ops.zeros((batch, *cells, *form))
            # offsets in radii, so that all that is learned is of one order
            value = value if name in ("heat", "segmentation") else value * self.radius
            outputs[name] = ops.reshape(value, (-1, *cells, *form)) if name in layers else value
        return outputs

    def compute_losses(self, targets, outputs, training=True):
        target, place = objects(targets, len(self.classes)), {"stride": self.stride}
        size, known = tuple(outputs["heat"].shape[1:3]), target.known[:, 0]
        ours = target.classes == 0
        person, points = ops.logical_and(target.valid, ours), ops.cast(targets["keypoints"], "float32")
        points = ops.where(ops.reshape(person, (*ops.shape(person), 1, 1)), points, 0.0)
        posed = ops.any(points[..., 2] > 0, axis=-1)
        ignored = ops.logical_and(target.ignored, ours)

        def listed(named, without):
            """The cells in which whatever is not a target is background."""
            left_out = ops.logical_or(ignored, ops.logical_and(person, ops.logical_not(without)))
            hidden = cells_in(target.boxes, left_out, size, self.stride)
            return ops.logical_and(ops.logical_or(ops.reshape(known, (-1, 1, 1)), named), ops.logical_not(hidden))

        discs, owners = offset_fields.discs(points, size, radius=self.radius, **place)
        inside = discs > 0
        learned = listed(ops.any(inside, axis=-1), posed)
        # where people are not all listed, a disc says nothing of other keypoints
        learned = ops.logical_and(ops.expand_dims(learned, -1), ops.reshape(known, (-1, 1, 1, 1)) | inside)
        short = offset_fields.short_offsets(points, owners, **place)
        terms = {
            "heat": over(_cross_entropy(discs, outputs["heat"]), learned),
            "short": self._distance(outputs["short"], short, inside),
            "mid": self._mid(points, owners, outputs),
        }
        if self.masks:
            terms |= self._mask_terms(targets["instance_masks"], target.boxes, person, points, listed, outputs)
        return {name: Term(WEIGHTS[name] * total, count) for name, (total, count) in terms.items()}

    def _mid(self, points, owners, outputs):
        if not self.edges:
            return Term(ops.zeros(()), ops.zeros(()))
        mid, known = offset_fields.mid_offsets(points, owners, self.edges, stride=self.stride)
        ends = [edge[::-1] for edge in self.edges]
        found = offset_fields.refined(outputs["mid"], outputs["short"], ends, times=REFINED, stride=self.stride)
        return self._distance(found, mid, known)

    def _mask_terms(self, crops, boxes, person, points, listed, outputs):
        size = tuple(outputs["segmentation"].shape[1:3])
        masked = ops.logical_and(person, ops.any(crops != NO_MASK, axis=(2, 3)))
        shares = coverage(crops, boxes, size, self.stride)
        shares = ops.where(ops.reshape(masked, (*ops.shape(masked), 1, 1)), shares, 0.0)
        covered = ops.minimum(ops.sum(shares, axis=1), 1.0)
        long, known = offset_fields.long_offsets(
            points, offset_fields.segment_owners(shares >= 0.5), stride=self.stride
        )
        return {
            "segmentation": over(_cross_entropy(covered, outputs["segmentation"]), listed(covered > 0, masked)),
            "long": self._distance(self._refined_long(outputs), long, known),
        }

    def _refined_long(self, outputs):
        long, place = outputs["long"], {"times": REFINED, "stride": self.stride}
        # the limit is ours: the paper's long offsets lead to whoever covers a keypoint
        nearer = offset_fields.refined(long, long, limit=self.radius, **place)
        return offset_fields.refined(nearer, outputs["short"], **place)

    def _distance(self, found, wanted, known):
        """L1, in radii."""
        distance = ops.sum(ops.abs(ops.cast(found, "float32") - wanted), axis=-1) / self.radius
        return over(distance, known)

    @property
    def explains(self):
        return ("joint", "mask") if self.masks else ("joint",)

    def names_of(self, kind):
        return super().names_of(kind) if kind == "joint" else self.classes[:1]

    def choose(self, outputs, kind, number=None, box=None):
        """A keypoint's peak; or as mask the cells that are predicted as people's, or else the likeliest."""
        if kind == "joint":
            return choose_joint(outputs["heat"], kind, number, box, self.stride)
        logits = outputs["segmentation"]
        allowed = inside(box, tuple(logits.shape[1:3]), self.stride)
        people = ops.logical_and(logits > 0, allowed)
        cells = ops.where(ops.any(people, axis=(1, 2), keepdims=True), people, peaks(logits, allowed))
        return Choice(kind, for_images(0, ops.shape(logits)[0]), cells=cells)

    def score(self, outputs, choice):
        if choice.kind == "joint":
            return score_joint(outputs["heat"], choice)
        return mean_over(outputs["segmentation"], choice.cells)

    def decode(self, outputs):
        outputs = {name: ops.cast(value, "float32") for name, value in outputs.items()}
        heat, short, place = ops.sigmoid(outputs["heat"]), outputs["short"], {"stride": self.stride}
        found = decode_people(
            offset_fields.hough_scores(heat, short, radius=self.radius, **place),
            short,
            outputs["mid"],
            self.edges,
            count=self.people,
            seeds=self.seeds,
            threshold=self.seed_threshold,
            radius=self.nms_radius,
            refinements=REFINED,
            **place,
        )
        points, valid, sigmas = found["keypoints"], found["valid"], self.skeleton.sigmas
        # Hough scores found them, but are no probabilities: between the centers of cells they are shared
        scores = expected_oks(heat, short, points, sigmas, radius=self.radius, **place)
        points = ops.concatenate([points[..., :2], ops.expand_dims(scores, -1)], axis=-1)
        points, valid, _ = self._best_first(points, valid, ops.mean(scores, axis=-1))
        points, valid, scores = self._best_first(points, valid, person_scores(points, valid, self.nms_radius))
        boxes = box_ops.clip(boxes_around(points, BOXED), outputs["size"])
        predictions = {
            "keypoints": points,
            "boxes": ops.where(ops.expand_dims(valid, -1), boxes, 0.0),
            "scores": scores,
            "classes": ops.zeros_like(scores, dtype="int32"),
            "valid": valid,
            "heat": ops.max(heat, axis=-1),
        }
        if self.masks:
            segmentation = ops.sigmoid(outputs["segmentation"])
            limits = {"threshold": BELONGS, "limit": self.mask_distance}
            people = people_of_cells(segmentation, self._refined_long(outputs), points, valid, **limits, **place)
            predictions |= {"people": people, "segmentation": segmentation}
        return predictions

    def _best_first(self, points, valid, scores):
        """The same people by falling score: those not valid last, and zeros."""
        scores, order = nms.best(ops.where(valid, scores, -1.0), self.people)
        valid, (kinds, columns) = scores >= 0, points.shape[2:]
        points = nms.gather(ops.reshape(points, (-1, self.people, kinds * columns)), order)
        points = ops.where(ops.expand_dims(valid, -1), points, 0.0)
        return ops.reshape(points, (-1, self.people, kinds, columns)), valid, ops.where(valid, scores, 0.0)


def _cross_entropy(wanted, logits):
    """Binary, of probabilities 0..1."""
    logits = ops.cast(logits, "float32")
    return ops.softplus(logits) - wanted * logits


def _enlarged(level, size):
    # float32: XLA refuses the gradient of bilinear resizing in half precision (TensorFlow 2.21)
    resized = ops.image.resize(ops.cast(level, "float32"), size, interpolation="bilinear", data_format="channels_last")
    return ops.cast(resized, level.dtype)
