"""`Detection`: average precision and recall of boxes, as COCO and PASCAL VOC count them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from visiontasks.drawing.charts import precision_recall_figure
from visiontasks.errors import DataError
from visiontasks.evaluation.metrics.coco import CocoScores, check_backend, coco_scores
from visiontasks.evaluation.metrics.confusion import Confusion, by_class, mean_of_defined
from visiontasks.evaluation.metrics.matching import (
    MISS,
    Found,
    Pairs,
    Truths,
    best_f1,
    coco_outcomes,
    greedy,
    joined,
    overlapping,
)
from visiontasks.evaluation.metrics.metric import Metric
from visiontasks.evaluation.metrics.voc import average_precisions, voc_outcomes

IOU = 0.5  # of VOC's figures, F1 and the charts


class Detection(Metric):
    """Scores boxes from predictions {"boxes": float32 (K, 4), "scores": float32 (K,), "classes": int32 (K,)}.

    `result` gives what pycocotools gives (Lin et al. 2014, "Microsoft COCO: Common Objects in Context"): "ap", the mean
    over IoU 0.50:0.95 and over the classes; "ap50", "ap75"; "ap_small", "ap_medium", "ap_large", of objects up to 32²,
    up to 96² and above, in pixels; "ar1", "ar10", "ar100", the recall with so many detections a picture and class;
    "ar_small", "ar_medium", "ar_large"; and "ap/NAME" of each class. "voc07_ap50" and "voc12_ap50" are PASCAL VOC's.
    "f1" is that of all classes' detections together at IoU 0.5 and the best threshold on their scores, "f1_threshold";
    it is chosen on the very pictures that are scored, so F1 is an upper bound of what it gives on others.

    Objects that a Sample has as `ignored` are neither rewarded nor punished, as COCO does with crowds; where it has
    `areas`, they decide what is small, and otherwise the boxes' do. A class that is not `known` in an image is left out
    there, objects and detections both, and so is an image without boxes or classes; one labelled with no object counts.
    Memory grows with boxes, not with images.

    Args:
        names: of the classes.
        backend: "pycocotools", or "faster-coco-eval" for the same figures in less time; to be installed on its own.

    Raises:
        UserError: the backend is unknown or not installed.
    """

    def __init__(self, names: Sequence[str], backend: str = "pycocotools"):
        check_backend(backend)
        self.names, self.backend = tuple(names), backend
        self._pictures = 0
        # each picture's rows, as they stand in Truths and Found
        self._truths = [Truths.none()]
        self._found = [Found.none()]
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
        self._check("classes", sample, sample.classes)
        self._check("classes predicted", sample, classes)
        known = np.ones(len(self.names), bool) if sample.known is None else sample.known
        scored = known[classes]
        boxes, scores, classes = boxes[scored], scores[scored], classes[scored]
        crowd, areas = sample.ignored, sample.areas
        given = _sides(sample.boxes)
        crowd = np.zeros(len(given), bool) if crowd is None else crowd
        areas = given[:, 2] * given[:, 3] if areas is None else np.asarray(areas, np.float64)
        columns = (np.full(len(given), self._pictures, np.int32), given, sample.classes, crowd, areas)
        self._truths.append(Truths(*(column[known[sample.classes]] for column in columns)))
        number = np.full(len(scores), self._pictures, np.int32)
        self._found.append(Found(number, _sides(boxes), classes, scores))
        self._pictures += 1
        self._scored = None

    def _check(self, what, sample, classes):
        low, high = classes.min(initial=0), classes.max(initial=0)
        if low < 0 or high >= len(self.names):
            raise DataError(
                f"{what} of {sample.id or sample.path}: expected 0..{len(self.names) - 1}, "
                f"got {low if low < 0 else high}; evaluate on data with the classes that the model was trained for."
            )

    def result(self):
        scored = self._score()
        truths, found = scored.truths, scored.found
        # VOC knows no share of a crowd's area
        pairs = overlapping(truths, found, IOU, crowd=False) if truths.crowd.any() else scored.pairs
        voc07, voc12 = average_precisions(truths, found, voc_outcomes(truths, found, pairs), len(self.names))
        return {
            **scored.coco.figures,
            "voc07_ap50": mean_of_defined(voc07),
            "voc12_ap50": mean_of_defined(voc12),
            "f1": scored.f1,
            "f1_threshold": scored.threshold,
            **by_class("ap", self.names, scored.coco.by_class),
        }

    def figures(self):
        """Precision over recall at IoU 0.5, and which class was found as which, at the threshold of the best F1."""
        scored = self._score()
        if not len(scored.truths.picture):
            return {}
        at = "no detections" if np.isnan(scored.threshold) else f"score ≥ {scored.threshold:.3g}"
        title = f"objects of each class, % found as, IoU ≥ {IOU}, {at}\nbackground: not found, or nothing there"
        return {
            "precision_recall": precision_recall_figure(scored.coco.curves, self.names, f"IoU ≥ {IOU}"),
            "confusion": self.confusion(scored.threshold).figure(title),
        }

    def confusion(self, threshold: float) -> Confusion:
        """Counts of (true class, class found) at IoU 0.5, of detections whose score is at least `threshold`.

        The last row is what was found where nothing is, the last column what was not found. First the detections take
        the objects of their own class, as F1 counts them; what is left over on both sides is matched across classes.
        """
        scored = self._score()
        truths, found, background = scored.truths, scored.found, len(self.names)
        kept = found.scores >= threshold
        hits = scored.hits.where(kept[scored.hits.found])
        lost = ~truths.crowd
        lost[hits.truth] = False
        wrong = kept & (scored.outcomes == MISS)
        mixed = scored.pairs.where(wrong[scored.pairs.found] & lost[scored.pairs.truth])
        mixed = greedy(mixed, found.scores)
        lost[mixed.truth], wrong[mixed.found] = False, False

        confusion = Confusion((*self.names, "background"))
        for pairs in (hits, mixed):
            confusion.add(truths.classes[pairs.truth], found.classes[pairs.found])
        confusion.add(truths.classes[lost], np.full(lost.sum(), background))
        confusion.add(np.full(wrong.sum(), background), found.classes[wrong])
        return confusion

    def _score(self) -> "_Scored":
        """All that is costly, computed once."""
        if self._scored is None:
            truths, found = joined(self._truths), joined(self._found)
            pairs = overlapping(truths, found, IOU, crowd=True)
            outcomes, hits = coco_outcomes(truths, found, pairs)
            f1, threshold = best_f1(outcomes, found.scores, int((~truths.crowd).sum()))
            coco = coco_scores(truths, found, len(self.names), self.backend)
            self._scored = _Scored(truths, found, pairs, outcomes, hits, f1, threshold, coco)
        return self._scored


@dataclasses.dataclass(frozen=True)
class _Scored:
    truths: Truths
    found: Found
    pairs: Pairs  # whose IoU is at least 0.5, crowds COCO's way
    outcomes: np.ndarray
    hits: Pairs
    f1: float
    threshold: float
    coco: CocoScores


def _sides(boxes):
    """x1, y1, x2, y2 to float64 x, y, width, height."""
    boxes = np.asarray(boxes, np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
