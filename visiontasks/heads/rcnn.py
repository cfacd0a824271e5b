"""Faster R-CNN: regions are proposed first, and then each is looked at on its own."""

import keras
from keras import ops

from visiontasks.arguments import Classes, Count, Levels, NonNegative, Positive, Positives, Share
from visiontasks.heads.head import Head, for_each, levels_among, picture_size
from visiontasks.heads.rcnn_branches import BETA, BoxBranch
from visiontasks.layers.feature_pyramid import FeaturePyramid, numbers
from visiontasks.layers.region_proposals import RegionProposals, propose
from visiontasks.losses import detection
from visiontasks.losses.reduction import Term, over
from visiontasks.ops import anchors, boxes, matching, nms, sampling
from visiontasks.ops.objects import objects


class RCNN(Head):
    """Boxes and their classes in two stages over a feature pyramid: Faster R-CNN.

    Ren et al. 2015, https://arxiv.org/abs/1506.01497; on a pyramid as in Lin et al. 2017,
    https://arxiv.org/abs/1612.03144, sections 4.1 and 4.2. On `resnet50` it is torchvision's fasterrcnn_resnet50_fpn;
    see weights/rcnn.py.

    Learns from `boxes`, float (B, G, 4) in pixels, `classes`, int (B, G), -1 = no object, and where there are `known`
    and `ignored` (ops/objects.py). Where a class is not known, the first stage learns no background in that image, and
    to the second background means background or such a class. Anchors and proposals with half their area in an
    ignored region, and no object, learn nothing.

    Raw outputs are, one for each level, {"objectness": float32 logits (B, A), "differences": float32 (B, A, 4),
    "anchors": float32 (B, A, 4) in pixels, "pyramid": {level number: (B, H, W, filters)}}; {"proposals": float32 (B, P,
    4) in pixels, "valid": bool (B, P), "size": float32 (B, 2), the picture's height and width}; and unless training
    "regions", what the second stage (rcnn_branches.py) says of the proposals. They decode to `boxes` float32 (B, D, 4)
    in pixels, `scores` float32 (B, D), `classes` int32 (B, D) and `valid` bool (B, D), best first.

    The second stage learns from a random choice of proposals and true boxes, inside `compute_losses`. What is chosen is
    drawn anew in training and is the same at every evaluation.

    Args:
        classes: names of the classes, or their number; background is none of them.
        levels: the backbone's levels to look at; by default C2 to C5, or the four deepest there are.
        filters: channels of the pyramid.
        ratios: of an anchor's height to its width.
        anchor_scale: side of a level's square anchor in strides of that level.
        anchor_overlap: the least IoU of an anchor with a true box that it learns from, beside the best of each.
        anchor_background: below this IoU an anchor learns that nothing is there; between the two, nothing.
        anchor_samples: anchors a picture that learn, at most.
        anchor_positives: share of them with an object, at most.
        proposal_candidates: anchors of each level that are considered, the best.
        training_candidates: the same in training.
        proposals: boxes a picture that the second stage looks at, P.
        training_proposals: the same in training, to choose samples from.
        proposal_iou_threshold: a proposal that overlaps a better one of its level more is dropped.
        smallest_proposal: pixels that a proposal's side must have.
        bins: features along a side of a box.
        bin_samples: points along a side of a bin.
        units: of the two dense layers.
        overlap: the least IoU of a sample with a true box that it learns from.
        samples: boxes a picture that the second stage learns from, at most.
        positives: share of them with an object, at most.
        score_threshold: a box of a lower score is not given.
        iou_threshold: a box that overlaps a better one of its class more is not given.
        detections: boxes given for a picture, D.

    Raises:
        ValueError: an argument does not fit; the text says what was expected.
    """

    task = "detection"
    fields = ("classes", "boxes")
    loss_terms = ("objectness", "rpn_box", "classification", "localization")

    def __init__(
        self,
        classes: Classes,
        levels: Levels | None = None,
        filters: Count = 256,
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
        bins: Count = 7,
        bin_samples: Count = 2,
        units: Count = 1024,
        overlap: Share = 0.5,
        samples: Count = 512,
        positives: Share = 0.25,
        score_threshold: Share = 0.05,
        iou_threshold: Share = 0.5,
        detections: Count = 100,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.levels, self.filters, self.ratios, self.anchor_scale = levels, filters, ratios, anchor_scale
        self.anchor_overlap, self.anchor_background = anchor_overlap, anchor_background
        self.anchor_samples, self.anchor_positives = anchor_samples, anchor_positives
        self.proposal_candidates, self.training_candidates = proposal_candidates, training_candidates
        self.proposals, self.training_proposals = proposals, training_proposals
        self.proposal_iou_threshold, self.smallest_proposal = proposal_iou_threshold, smallest_proposal
        self.bins, self.bin_samples, self.units = bins, bin_samples, units
        self.overlap, self.samples, self.positives = overlap, samples, positives
        self.score_threshold, self.iou_threshold, self.detections = score_threshold, iou_threshold, detections
        self.seeds = keras.random.SeedGenerator()

    def taps(self, available):
        if self.levels:
            return (*sorted(self.levels), "image")
        return (*levels_among(available, "rcnn", within=range(1, 6))[-4:], "image")

    def build(self, features_shape):
        half = {"dtype": self.dtype_policy}
        levels = sorted(set(features_shape) - {"image"})
        self._numbers = numbers(levels)
        self._sides = [self.anchor_scale * 2**number for number in (*self._numbers, self._numbers[-1] + 1)]
        self.pyramid = FeaturePyramid(self.filters, "max_pool", name="pyramid", **half)
        self.pyramid.build([features_shape[level] for level in levels])
        self.region_proposals = RegionProposals(self.filters, len(self.ratios), name="region_proposals", **half)
        self.region_proposals.build([(None, None, None, self.filters)])
        self.boxes = BoxBranch(len(self.classes), self.bins, self.bin_samples, self.units, name="boxes", **half)
        pyramid = {str(number): (None, None, None, self.filters) for number in self._numbers}
        self.boxes.build(pyramid)
        self.branches = self.further_branches()
        for branch in self.branches:
            if not branch.built:
                branch.build(pyramid, (None, None, 4))

    def further_branches(self) -> list[keras.layers.Layer]:
        """What a subclass asks of each object beside its box, such as a mask: see rcnn_branches.py.

        It names their losses in its own `loss_terms`, and the fields that they learn from in `fields`.
        """
        return []

    def call(self, features, training=None):
        size = picture_size(features, "rcnn")
        levels = sorted(set(features) - {"image"})
        maps = self.pyramid([features[level] for level in levels])
        batch = ops.shape(maps[0])[0]
        places = []
        for x, side in zip(maps, self._sides, strict=True):
            own = anchors.grid_anchors([tuple(x.shape[1:3])], size, [[side]], self.ratios)
            places.append(for_each(own, batch))
        size = for_each(size, batch)
        objectness, differences = self.region_proposals(maps)
        proposals = propose(
            objectness,
            differences,
            places,
            size,
            candidates=self.training_candidates if training else self.proposal_candidates,
            count=self.training_proposals if training else self.proposals,
            iou_threshold=self.proposal_iou_threshold,
            smallest=self.smallest_proposal,
        )
        # the level added on top is for proposals alone
        outputs = {
            "objectness": objectness,
            "differences": differences,
            "anchors": places,
            "pyramid": {str(number): x for number, x in zip(self._numbers, maps, strict=False)},
            "proposals": proposals["boxes"],
            "valid": proposals["valid"],
            "size": size,
        }
        return outputs if training else {**outputs, "regions": self.boxes(outputs["pyramid"], outputs["proposals"])}

    def compute_losses(self, targets, outputs, training=True):
        losses = self._proposal_losses(targets, outputs, training)
        samples = self.sample(targets, outputs, training)
        answers = self.boxes(outputs["pyramid"], samples["boxes"])
        losses |= self.boxes.compute_losses(answers, samples, targets)
        objects = {key: value[:, : int(self.samples * self.positives)] for key, value in samples.items()}
        for branch in self.branches:
            losses |= branch.compute_losses(branch(outputs["pyramid"], objects["boxes"]), objects, targets)
        return losses

    def keys(self, shape, training):
        """Random numbers (B or 1, N): the boxes with the smallest ones are chosen to learn."""
        if training:
            return keras.random.uniform(shape, seed=self.seeds)
        return keras.random.uniform((1, shape[1]), seed=0)

    def _proposal_losses(self, targets, outputs, training):
        logits, found, places = (ops.concatenate(outputs[k], axis=1) for k in ("objectness", "differences", "anchors"))
        truth = objects(targets, len(self.classes))
        matches = matching.nearest(
            truth.boxes,
            truth.valid,
            places,
            truth.ignored,
            high=self.anchor_overlap,
            low=self.anchor_background,
            rescue=True,
        )
        positive, negative = sampling.balanced(
            matches >= 0,
            # where a class is not known, an anchor may hold an object of it all the same
            ops.logical_and(matches == matching.BACKGROUND, ops.expand_dims(truth.complete, -1)),
            self.keys((ops.shape(logits)[0], logits.shape[1]), training),
            self.anchor_samples,
            self.anchor_positives,
        )
        learnt = ops.logical_or(positive, negative)
        entropy = ops.softplus(ops.where(positive, -logits, logits))
        differences = boxes.encode(matching.take(truth.boxes, matches), places)
        distance = ops.sum(detection.smooth_l1(differences, found, BETA), axis=-1)
        objectness = over(entropy, learnt)
        return {
            "objectness": objectness,
            "rpn_box": Term(ops.sum(ops.where(positive, distance, 0.0)), objectness.count),
        }

    def sample(self, targets, outputs, training: bool) -> dict:
        """What the second stage learns from, out of the proposals and the true boxes: see rcnn_branches.py."""
        truth = objects(targets, len(self.classes))
        found = ops.concatenate([outputs["proposals"], truth.boxes], axis=1)
        valid = ops.concatenate([outputs["valid"], truth.valid], axis=1)
        matches = matching.nearest(truth.boxes, truth.valid, found, truth.ignored, high=self.overlap)
        background = ops.logical_and(valid, ops.any(truth.known, axis=-1, keepdims=True))
        positive, negative = sampling.balanced(
            ops.logical_and(matches >= 0, valid),
            ops.logical_and(matches == matching.BACKGROUND, background),
            self.keys((ops.shape(found)[0], found.shape[1]), training),
            self.samples,
            self.positives,
        )
        rank = 2 * ops.cast(positive, "float32") + ops.cast(negative, "float32")
        rank, rows = nms.best(rank, min(self.samples, found.shape[1]))
        matches = ops.take_along_axis(matches, rows, axis=1)
        return {
            "boxes": nms.gather(found, rows),
            "there": rank > 0,
            "labels": ops.where(rank > 1, matching.take(truth.classes, matches) + 1, 0),
            "matches": matches,
            "targets": matching.take(truth.boxes, matches),
        }

    def decode(self, outputs):
        # a training step's outputs are decoded only where somebody watches a metric
        regions = outputs.get("regions") or self.boxes(outputs["pyramid"], outputs["proposals"])
        found = self.boxes.decode(
            regions,
            outputs["proposals"],
            outputs["valid"],
            outputs["size"],
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            count=self.detections,
        )
        answers = dict(found)
        for branch in self.branches:
            answers |= branch.decode(branch(outputs["pyramid"], found["boxes"]), found)
        return answers
