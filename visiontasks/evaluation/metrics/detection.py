"""`Detection`: average precision and recall of boxes, as COCO and PASCAL VOC define them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from visiontasks.drawing.charts import outcomes_figure, precision_recall_figure
from visiontasks.evaluation.metrics.coco import CocoScores, check_backend, coco_scores
from visiontasks.evaluation.metrics.confusion import Confusion, by_class, mean_of_defined
from visiontasks.evaluation.metrics.matching import (
    HIT,
    IGNORED,
    MISS,
    Detections,
    GroundTruth,
    Pairs,
    best_f1,
    coco_outcomes,
    greedy,
    joined,
    overlapping,
)
from visiontasks.evaluation.metrics.metric import Metric, check_classes
from visiontasks.evaluation.metrics.voc import average_precisions, voc_outcomes
from visiontasks.sample import Sample

IOU = 0.5  # for VOC's metrics, F1 and the charts


class Detection(Metric):
    """Scores boxes from predictions {"boxes": float32 (K, 4), "scores": float32 (K,), "classes": int32 (K,)}.

    `result` gives the metrics of pycocotools (Lin et al. 2014, "Microsoft COCO: Common Objects in Context"): "ap", the
    mean over IoU 0.50:0.95 and over the classes; "ap50", "ap75"; "ap_small", "ap_medium", "ap_large", for objects up to
    32², up to 96² and above, in pixels; "ar1", "ar10", "ar100", the recall with at most 1, 10 and 100 detections per
    image and class; "ar_small", "ar_medium", "ar_large"; and "ap/NAME" of each class. "voc07_ap50" and "voc12_ap50" are
    PASCAL VOC's. "f1" is the F1 of all classes' detections together at IoU 0.5 and the best score threshold,
    "f1_threshold". It is chosen on the scored images, so F1 is an upper bound of the value on other images.

    Objects that a Sample has as `ignored` are neither rewarded nor punished, as COCO's crowds. `areas` decide which
    objects are small; without them the boxes' areas do. A class that is not `known` in an image is left out there,
    objects and detections both, and so is an image without box labels; an image that is labeled but has no object is
    counted. Memory grows with the number of boxes, not of images.

    Args:
        names: of the classes.
        backend: "pycocotools", or "faster-coco-eval" for the same metrics in less time, installed separately.

    Raises:
        UserError: the backend is unknown or not installed.
    """

    def __init__(self, names: Sequence[str], backend: str = "pycocotools"):
        check_backend(backend)
        self.names, self.backend = tuple(names), backend
        self._images = 0
        # one entry per image
        self._targets = [GroundTruth.none()]
        self._detections = [Detections.none()]
        self._scored: _Scored | None = None

    def update(self, sample, prediction):
        if sample.boxes is None or sample.classes is None:
            return
        boxes, scores = np.asarray(prediction["boxes"], np.float32), np.asarray(prediction["scores"], np.float32)
        classes = np.asarray(prediction["classes"], np.int32)
        if boxes.shape != (len(scores), 4) or classes.shape != scores.shape or scores.ndim != 1:
            raise ValueError(
                f"boxes, classes, scores predicted for {sample.id or sample.path}: expected (K, 4), (K,), (K,); "
                f"got {boxes.shape}, {classes.shape}, {scores.shape}; restore them first."
            )
        check_classes("classes", sample, sample.classes, len(self.names))
        check_classes("classes predicted", sample, classes, len(self.names))
        known = np.ones(len(self.names), bool) if sample.known is None else sample.known
        scored = known[classes]
        boxes, scores, classes = boxes[scored], scores[scored], classes[scored]
        crowd, areas = sample.ignored, sample.areas
        targets = _xywh(sample.boxes)
        crowd = np.zeros(len(targets), bool) if crowd is None else crowd
        areas = targets[:, 2] * targets[:, 3] if areas is None else np.asarray(areas, np.float64)
        columns = (np.full(len(targets), self._images, np.int32), targets, sample.classes, crowd, areas)
        self._targets.append(GroundTruth(*(column[known[sample.classes]] for column in columns)))
        image = np.full(len(scores), self._images, np.int32)
        self._detections.append(Detections(image, _xywh(boxes), classes, scores))
        self._images += 1
        self._scored = None

    @property
    def rows(self) -> tuple[GroundTruth, Detections]:
        """The objects and the detections of all images that were counted."""
        return joined(self._targets), joined(self._detections)

    def result(self):
        scored = self._score()
        targets, detections = scored.targets, scored.detections
        # VOC's kit does not treat a crowd as a region
        pairs = overlapping(targets, detections, IOU, crowd=False) if targets.crowd.any() else scored.pairs
        outcomes = voc_outcomes(targets, detections, pairs)
        voc07, voc12 = average_precisions(targets, detections, outcomes, len(self.names))
        return {
            **scored.coco.metrics,
            "voc07_ap50": mean_of_defined(voc07),
            "voc12_ap50": mean_of_defined(voc12),
            "f1": scored.f1,
            "f1_threshold": scored.threshold,
            **by_class("ap", self.names, scored.coco.by_class),
        }

    def charts(self):
        """Precision-recall curves at IoU 0.5, and the confusion matrix at the threshold of the best F1.

        With one class, the counts of true positives, false positives and false negatives instead of the matrix.
        """
        scored = self._score()
        if not len(scored.targets.image):
            return {}
        at = f"IoU ≥ {IOU}, " + ("no detections" if np.isnan(scored.threshold) else f"score ≥ {scored.threshold:.3g}")
        confusion = self.confusion(scored.threshold)
        if len(self.names) == 1:
            (hits, missed), (wrong, _) = confusion.counts.tolist()
            figure = outcomes_figure(hits, wrong, missed, f"detections, {at}")
        else:
            figure = confusion.figure(
                f"objects of each class, % detected as, {at}\nbackground: not detected, or no object"
            )
        return {
            "precision_recall": precision_recall_figure(scored.coco.curves, self.names, f"IoU ≥ {IOU}"),
            "confusion": figure,
        }

    def confusion(self, threshold: float) -> Confusion:
        """Counts of (true class, detected class) at IoU 0.5, of detections whose score is at least `threshold`.

        The last row counts detections without an object, the last column objects without a detection. First detections
        are matched with objects of their own class, as for F1; the remaining ones are matched across classes.
        """
        scored = self._score()
        targets, detections, background = scored.targets, scored.detections, len(self.names)
        kept = detections.scores >= threshold
        hits = scored.hits.where(kept[scored.hits.detection])
        missed = ~targets.crowd
        missed[hits.target] = False
        wrong = kept & (scored.outcomes == MISS)
        mixed = scored.pairs.where(wrong[scored.pairs.detection] & missed[scored.pairs.target])
        mixed = greedy(mixed, detections.scores)
        missed[mixed.target], wrong[mixed.detection] = False, False

        confusion = Confusion((*self.names, "background"))
        for pairs in (hits, mixed):
            confusion.add(targets.classes[pairs.target], detections.classes[pairs.detection])
        confusion.add(targets.classes[missed], np.full(missed.sum(), background))
        confusion.add(np.full(wrong.sum(), background), detections.classes[wrong])
        return confusion

    def _score(self) -> "_Scored":
        """Everything that is costly, computed once."""
        if self._scored is None:
            targets, detections = self.rows
            pairs = overlapping(targets, detections, IOU, crowd=True)
            outcomes, hits = coco_outcomes(targets, detections, pairs)
            f1, threshold = best_f1(outcomes, detections.scores, int((~targets.crowd).sum()))
            coco = coco_scores(targets, detections, len(self.names), self.backend)
            self._scored = _Scored(targets, detections, pairs, outcomes, hits, f1, threshold, coco)
        return self._scored


@dataclasses.dataclass(frozen=True)
class _Scored:
    targets: GroundTruth
    detections: Detections
    pairs: Pairs  # with an IoU of at least 0.5, for crowds as COCO defines it
    outcomes: np.ndarray
    hits: Pairs
    f1: float
    threshold: float
    coco: CocoScores


def image_outcomes(sample: Sample, prediction: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The outcomes of one image's detections and of its objects, by COCO's rules at IoU 0.5.

    Args:
        sample: with `boxes` and `classes`.
        prediction: "boxes", "scores", "classes", as for `Detection`; with "masks", an InstanceMasks, the IoU is that of
            masks, but for objects without one.

    Returns:
        int8 (K,) HIT, MISS or IGNORED for each detection; int8 (N,) HIT for each object that is detected, MISS for one
        that is not, IGNORED for one that is not counted.
    """
    count, scores, classes = len(sample.boxes), np.asarray(prediction["scores"]), np.asarray(prediction["classes"])
    crowd = np.zeros(count, bool) if sample.ignored is None else sample.ignored
    targets = GroundTruth(np.zeros(count, np.int32), _xywh(sample.boxes), sample.classes, crowd, np.zeros(count))
    detections = Detections(np.zeros(len(scores), np.int32), _xywh(prediction["boxes"]), classes, scores)
    pairs = overlapping(targets, detections, IOU, crowd=True)
    if "masks" in prediction and sample.instance_masks is not None and len(scores):
        pairs = _of_masks(pairs, prediction["masks"], sample.instance_masks, crowd)
    outcomes, hits = coco_outcomes(targets, detections, pairs)
    found = np.where(crowd, IGNORED, MISS).astype(np.int8)
    found[hits.target] = HIT
    if sample.known is not None:
        outcomes[~sample.known[classes]], found[~sample.known[sample.classes]] = IGNORED, IGNORED
    return outcomes, found


def _of_masks(pairs, detected, objects, crowd):
    """The pairs of one image by the IoU of masks; those of objects without a mask as they are."""
    known = np.flatnonzero(objects.known)
    ours, theirs = [detected.rle(n) for n in range(len(detected))], [objects.rle(n) for n in known.tolist()]
    iou = np.reshape(coco_mask.iou(ours, theirs, crowd[known].tolist()), (len(ours), len(theirs)))
    rows, columns = np.nonzero(iou >= IOU)
    rest = pairs.where(~objects.known[pairs.target])
    return Pairs(
        np.append(rest.detection, rows), np.append(rest.target, known[columns]), np.append(rest.iou, iou[rows, columns])
    )


def _xywh(boxes):
    """x1, y1, x2, y2 to float64 x, y, width, height."""
    boxes = np.asarray(boxes, np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
