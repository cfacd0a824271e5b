"""Faster R-CNN: a first stage proposes regions, a second stage classifies and refines each."""

import keras
from keras import ops

from visiontasks.arguments import (
    Cells,
    Channels,
    Classes,
    Count,
    Layers,
    Levels,
    MoreLayers,
    NonNegative,
    Points,
    Positive,
    Positives,
    Share,
)
from visiontasks.heads.choices import of_number
from visiontasks.heads.detection import DetectionHead, for_each, image_size, pyramid_anchors
from visiontasks.heads.rcnn_branches import BETA, BoxBranch, Branch
from visiontasks.heads.rcnn_keypoints import KeypointBranch, Keypoints
from visiontasks.heads.rcnn_masks import Mask, MaskBranch
from visiontasks.heads.rcnn_points import PointBranch
from visiontasks.layers.feature_pyramid import FeaturePyramid
from visiontasks.layers.region_proposals import RegionProposals, propose
from visiontasks.losses import detection
from visiontasks.losses.reduction import Term, over
from visiontasks.ops import boxes, matching, nms, sampling
from visiontasks.ops.objects import objects


class RCNN(DetectionHead):
    """Object detection in two stages on a feature pyramid: Faster R-CNN.

    Ren et al. 2015, https://arxiv.org/abs/1506.01497; on a pyramid as in Lin et al. 2017,
    https://arxiv.org/abs/1612.03144, sections 4.1 and 4.2. On `resnet50` it equals torchvision's
    fasterrcnn_resnet50_fpn; see weights/rcnn.py.

    If a class is not known, the first stage learns no background in that image, and in the second stage background
    means background or such a class. Anchors and proposals without an object and with half of their area in an ignored
    region learn nothing.

    Raw outputs are, one per level, {"objectness": float32 logits (B, A), "deltas": float32 (B, A, 4), "anchors":
    float32 (B, A, 4) in pixels, "pyramid": {level number: (B, H, W, filters)}}; {"proposals": float32 (B, P, 4) in
    pixels, "valid": bool (B, P), "size"}; and, except in training, "regions", the box branch's outputs for the
    proposals (rcnn_branches.py).

    The second stage learns from a random sample of proposals and ground-truth boxes, drawn in `compute_losses`. The
    sample is new in each training step and constant in evaluation.

    Args:
        classes: names of the classes, or their number, without background.
        levels: the backbone's levels; by default C2 to C5, or the four deepest.
        filters: channels of the pyramid.
        ratios: height / width of the anchors.
        anchor_scale: size of a level's square anchor, in strides of the level.
        anchor_overlap: minimum IoU of an anchor with the object it learns; each object's best anchor always learns it.
        anchor_background: an anchor below this IoU learns background; between the two it learns nothing.
        anchor_samples: maximum number of anchors per image that learn.
        anchor_positives: maximum share of them with an object.
        proposal_candidates: the number of best anchors per level that are considered.
        training_candidates: the same in training.
        proposals: boxes per image for the second stage, P.
        training_proposals: the same in training, from which samples are drawn.
        proposal_iou_threshold: a proposal with a higher IoU with a better one of its level is removed.
        smallest_proposal: minimum width and height of a proposal in pixels.
        bins: features per row and column of a box.
        bin_samples: points per row and column of a bin.
        units: of the two dense layers.
        overlap: minimum IoU of a sample with the object it learns.
        samples: maximum number of boxes per image that the second stage learns from.
        positives: maximum share of them with an object.
        score_threshold: boxes with a lower score are removed.
        iou_threshold: a box with a higher IoU with a better one of its class is removed.
        detections: maximum boxes per image, D.
        batch_norm: normalize after the convolutions of the pyramid and of the box branch.
        proposal_layers: number of 3×3 convolutions of the first stage.
        box_layers: number of 3×3 convolutions of the box branch.
        dense_layers: number of its dense layers.
        mask: options of the mask branch, {} for their defaults; with them the head is Mask R-CNN: it learns from
            instance masks too and predicts `masks`; None: no masks. `filters` (256) of each convolution; `layers` (4)
            of them before the transposed one; `bins` (14) of features, and 28 cells of a mask, per row and column of
            a box; `bin_samples` (2) points per row and column of a bin; `batch_norm` after each convolution;
            `agnostic`: one mask for all classes. With `refine` (2) or `points` (196), edges are refined by PointRend:
            how many times a mask is doubled, and how many points a box are learned; see rcnn_points.py.
        keypoints: options of the keypoint branch, {} for their defaults; with them the head is Keypoint R-CNN: it
            learns from keypoints too and predicts them; None: no keypoints. `filters` (512) of each convolution;
            `layers` (8) of them before the transposed one; `bins` (14) of features, and 56 cells of a heat map, per
            row and column of a box; `bin_samples` (2) points per row and column of a bin.
        skeleton: of the keypoints; from the data in a recipe. None: COCO's 17.
    """

    fields_with = {"mask": ("instance_masks",), "keypoints": ("keypoints",)}
    tasks_with = {"mask": "instances", "keypoints": "pose", ("mask", "keypoints"): "posed_instances"}
    strides = (2, 32)
    most = 4

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        filters: Channels = 256,
        ratios: Positives = (0.5, 1.0, 2.0),
        anchor_scale: Positive = 8.0,
        anchor_overlap: Share = 0.7,
        anchor_background: Share = 0.3,
        anchor_samples: Count = 256,
        anchor_positives: Share = 0.5,
        proposal_candidates: Count = 1000,
        training_candidates: Count = 2000,
        proposals: Count = 1000,
        training_proposals: Count = 2000,
        proposal_iou_threshold: Share = 0.7,
        smallest_proposal: NonNegative = 1e-3,
        bins: Cells = 7,
        bin_samples: Cells = 2,
        units: Channels = 1024,
        overlap: Share = 0.5,
        samples: Count = 512,
        positives: Share = 0.25,
        score_threshold: Share = 0.05,
        iou_threshold: Share = 0.5,
        detections: Count = 100,
        batch_norm: bool = False,
        proposal_layers: Layers = 1,
        box_layers: MoreLayers = 0,
        dense_layers: Layers = 2,
        mask: Mask | None = None,
        keypoints: Keypoints | None = None,
        skeleton: Points | None = None,
        **kwargs,
    ):
        super().__init__(classes, levels, score_threshold, iou_threshold, detections, **kwargs)
        self.filters, self.ratios, self.anchor_scale = filters, ratios, anchor_scale
        self.anchor_overlap, self.anchor_background = anchor_overlap, anchor_background
        self.anchor_samples, self.anchor_positives = anchor_samples, anchor_positives
        self.proposal_candidates, self.training_candidates = proposal_candidates, training_candidates
        self.proposals, self.training_proposals = proposals, training_proposals
        self.proposal_iou_threshold, self.smallest_proposal = proposal_iou_threshold, smallest_proposal
        self.overlap, self.samples, self.positives = overlap, samples, positives
        self.seeds = keras.random.SeedGenerator()
        half = {"dtype": self.dtype_policy}
        self.pyramid = FeaturePyramid(filters, "max_pool", batch_norm, name="pyramid", **half)
        self.region_proposals = RegionProposals(filters, len(ratios), proposal_layers, name="region_proposals", **half)
        form = {"dense_layers": dense_layers, "layers": box_layers, "batch_norm": batch_norm}
        self.boxes = BoxBranch(len(self.classes), bins, bin_samples, units, **form, name="boxes", **half)
        self.branches = []
        if mask is not None:
            branch = PointBranch if {"refine", "points"} & {*mask} else MaskBranch
            self.add_branch(branch(len(self.classes), **mask, name="masks", **half))
        if keypoints is not None:
            self.add_branch(KeypointBranch(len(self.skeleton), **keypoints, name="keypoints", **half))

    def add_branch(self, branch: Branch):
        """Add a branch, such as a mask for each object; for the constructors of subclasses.

        The head then learns from the branch's fields too, and has its loss terms and its predictions.

        Raises:
            ValueError: another branch has a loss term of the same name.
        """
        if taken := {*branch.loss_terms} & {*self.loss_terms}:
            raise ValueError(f"{branch.name}: loss terms {sorted(taken)} are another branch's; give them other names.")
        self.branches.append(branch)
        self.fields = tuple(dict.fromkeys((*self.fields, *branch.fields)))

    @property
    def loss_terms(self):
        terms = [term for branch in (self.boxes, *self.branches) for term in branch.loss_terms]
        return ("objectness", "rpn_box", *terms)

    def build(self, taps):
        super().build(taps)
        strides = [tap.stride for tap in self.tapped]
        self._sizes = [[self.anchor_scale * stride] for stride in (*strides, 2 * strides[-1])]
        self._numbers = [stride.bit_length() - 1 for stride in strides]  # level n has stride 2ⁿ
        self.pyramid.build([tap.shape for tap in self.tapped])
        shape = (None, None, None, self.filters)
        self.region_proposals.build([shape])
        for branch in (self.boxes, *self.branches):
            branch.build(dict.fromkeys(self._numbers, shape), (None, None, 4))

    def _pyramid(self, features, training=None):
        return self.pyramid([features[tap.name] for tap in self.tapped], training=training)

    def call(self, features, training=None):
        size = image_size(features, "rcnn")
        maps = self._pyramid(features, training)
        level_anchors = pyramid_anchors(maps, size, self._sizes, self.ratios)
        size = for_each(size, ops.shape(maps[0])[0])
        objectness, deltas = self.region_proposals(maps)
        proposals = propose(
            objectness,
            deltas,
            level_anchors,
            size,
            candidates=self.training_candidates if training else self.proposal_candidates,
            count=self.training_proposals if training else self.proposals,
            iou_threshold=self.proposal_iou_threshold,
            smallest=self.smallest_proposal,
        )
        # the added top level is used for proposals alone
        outputs = {
            "objectness": objectness,
            "deltas": deltas,
            "anchors": level_anchors,
            "pyramid": dict(zip(self._numbers, maps, strict=False)),
            "proposals": proposals["boxes"],
            "valid": proposals["valid"],
            "size": size,
        }
        return outputs if training else {**outputs, "regions": self._regions(outputs)}

    def _regions(self, outputs):
        return self.boxes(outputs["pyramid"], outputs["proposals"], outputs["valid"], training=False)

    def compute_losses(self, targets, outputs, training=True):
        losses = self._proposal_losses(targets, outputs, training)
        samples = self.sample(targets, outputs, training)
        regions = self.boxes(outputs["pyramid"], samples["boxes"], samples["valid"], training=training)
        losses |= self.boxes.compute_losses(regions, samples, targets)
        most = max(1, int(self.samples * self.positives))  # as `sampling.balanced` takes
        objects = {key: value[:, :most] for key, value in samples.items()}
        for branch in self.branches:
            raw = branch.learned(outputs["pyramid"], objects["boxes"], objects["labels"] - 1, training=training)
            losses |= branch.compute_losses(raw, objects, targets)
        return losses

    def keys(self, shape, training):
        """Random numbers (B or 1, N); the boxes with the smallest numbers are sampled."""
        if training:
            return keras.random.uniform(shape, seed=self.seeds)
        return keras.random.uniform((1, shape[1]), seed=0)

    def _proposal_losses(self, targets, outputs, training):
        logits, deltas, all_anchors = (ops.concatenate(outputs[k], axis=1) for k in ("objectness", "deltas", "anchors"))
        target = objects(targets, len(self.classes))
        matches = matching.nearest(
            target.boxes,
            target.valid,
            all_anchors,
            target.ignored,
            high=self.anchor_overlap,
            low=self.anchor_background,
            rescue=True,
        )
        positive, negative = sampling.balanced(
            matches >= 0,
            # if a class is not known, an anchor without an object may still contain one of that class
            ops.logical_and(matches == matching.BACKGROUND, ops.expand_dims(target.complete, -1)),
            self.keys((ops.shape(logits)[0], logits.shape[1]), training),
            self.anchor_samples,
            self.anchor_positives,
        )
        learned = ops.logical_or(positive, negative)
        entropy = ops.softplus(ops.where(positive, -logits, logits))
        target_deltas = boxes.encode(matching.take(target.boxes, matches), all_anchors)
        distance = ops.sum(detection.smooth_l1(target_deltas, deltas, BETA), axis=-1)
        objectness = over(entropy, learned)
        return {
            "objectness": objectness,
            "rpn_box": Term(ops.sum(ops.where(positive, distance, 0.0)), objectness.count),
        }

    def sample(self, targets, outputs, training: bool) -> dict:
        """The second stage's samples from the proposals and the ground-truth boxes: see rcnn_branches.py."""
        target = objects(targets, len(self.classes))
        candidates = ops.concatenate([outputs["proposals"], target.boxes], axis=1)
        valid = ops.concatenate([outputs["valid"], target.valid], axis=1)
        matches = matching.nearest(target.boxes, target.valid, candidates, target.ignored, high=self.overlap)
        background = ops.logical_and(valid, ops.any(target.known, axis=-1, keepdims=True))
        positive, negative = sampling.balanced(
            ops.logical_and(matches >= 0, valid),
            ops.logical_and(matches == matching.BACKGROUND, background),
            self.keys((ops.shape(candidates)[0], candidates.shape[1]), training),
            self.samples,
            self.positives,
        )
        rank = 2 * ops.cast(positive, "float32") + ops.cast(negative, "float32")
        rank, rows = nms.best(rank, min(self.samples, candidates.shape[1]))
        matches = ops.take_along_axis(matches, rows, axis=1)
        return {
            "boxes": nms.gather(candidates, rows),
            "valid": rank > 0,
            "labels": ops.where(rank > 1, matching.take(target.classes, matches) + 1, 0),
            "matches": matches,
            "targets": matching.take(target.boxes, matches),
        }

    def scored(self, outputs):
        # outputs of a training step are decoded only for a metric
        regions = outputs.get("regions") or self._regions(outputs)
        proposals = {"boxes": outputs["proposals"], "valid": outputs["valid"], "size": outputs["size"]}
        candidates = self.boxes.candidates(regions, proposals)
        return tuple(candidates[key] for key in ("boxes", "scores", "classes"))

    @property
    def explains(self):
        return ("box", *(branch.explains for branch in self.branches if branch.explains))

    def every_box(self, outputs):
        # a proposal has a box of its own for each class; of those that are padding, no score
        regions = outputs.get("regions") or self._regions(outputs)
        scores = ops.softmax(regions["classes"], axis=-1)[..., 1:]
        scores = ops.where(ops.expand_dims(outputs["valid"], -1), scores, 0.0)
        return outputs["proposals"], regions["classes"][..., 1:], scores

    def choose(self, outputs, kind, number=None, box=None):
        """The box is the proposal itself, not refined; a mask or a joint is that of the strongest box."""
        chosen = super().choose(outputs, "box", None if kind == "joint" else number, box)
        if kind == "box":
            return chosen
        return self._branch(kind).choose(outputs["pyramid"], chosen._replace(kind=kind), number)

    def outputs_to_score(self, features):
        return {"pyramid": dict(zip(self._numbers, self._pyramid(features), strict=False))}

    def score(self, outputs, choice):
        """What the second stage says of the choice's box itself: the first stage takes no part in it."""
        if choice.kind != "box":
            return self._branch(choice.kind).score(outputs["pyramid"], choice)
        regions = self.boxes(outputs["pyramid"], ops.expand_dims(choice.box, 1), training=False)
        return of_number(regions["classes"][:, 0, 1:], choice.number)

    def _branch(self, kind):
        return next(branch for branch in self.branches if branch.explains == kind)

    def decode(self, outputs):
        detections = super().decode(outputs)
        predictions = dict(detections)
        classes = ops.where(detections["valid"], detections["classes"], -1)
        for branch in self.branches:
            raw = branch(outputs["pyramid"], detections["boxes"], classes, training=False)
            predictions |= branch.decode(raw, detections)
        return predictions
