"""`Detection`: a box and a class for each object."""

import numpy as np

from visiontasks.drawing.boxes import Mark, boxed
from visiontasks.drawing.colors import GRAY, color
from visiontasks.drawing.panels import Entry, captioned
from visiontasks.evaluation.metrics.confusion import ratio
from visiontasks.evaluation.metrics.detection import Detection as DetectionMetric
from visiontasks.evaluation.metrics.detection import image_outcomes
from visiontasks.evaluation.metrics.matching import HIT, IGNORED, MISS
from visiontasks.evaluation.tasks.task import Task
from visiontasks.inference.merging import merge_boxes

SHOWN_FROM = 0.3  # the score from which a detection is drawn: a detector gives a hundred boxes for any image
MOST_SHOWN = 100
UNDRAWN = 2  # instead of an outcome: the score is too low
_COLUMNS = ("boxes", "scores", "classes")


class Detection(Task):
    """Predictions are {"boxes": float32 (K, 4), "scores": float32 (K,), "classes": int32 (K,), "valid": bool (K,)}.

    Boxes are x1, y1, x2, y2 in pixels of the network's canvas; those not `valid` are padding. Restored predictions are
    {"boxes", "scores", "classes"} of the valid ones, best first, in the original image's pixels.
    """

    main_metric = "ap"
    most_shown: int | None = MOST_SHOWN  # in a drawing; None: all
    columns: tuple[str, ...] = _COLUMNS  # of a restored prediction
    # {outcome: (line style, line of the legend)} in drawings of an evaluation
    object_styles = {HIT: ("solid", "solid: {} detected"), MISS: ("dotted", "dotted: {} missed")}
    detection_styles = {
        HIT: ("solid", "solid: {} true positives"),
        MISS: ("dashed", "dashed: {} false positives"),
        IGNORED: ("gray", "gray: {} not counted"),
    }

    def restore(self, prediction, placement):
        return self.restored(prediction, placement)[1]

    def restored(self, prediction, placement) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The rows of a prediction that are detections, best first, and these as `restore` gives them."""
        boxes = placement.restore_boxes(prediction["boxes"])
        scores = np.asarray(prediction["scores"], np.float32)
        # boxes on padding are empty; NaN, of a diverged training, compares false and is dropped too
        kept = np.asarray(prediction["valid"], bool) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (scores == scores)
        order = np.argsort(-scores[kept], kind="stable")
        rows = np.flatnonzero(kept)[order]
        classes = np.asarray(prediction["classes"], np.int32)
        return rows, {name: value[rows] for name, value in zip(_COLUMNS, (boxes, scores, classes), strict=True)}

    def merge(self, predictions, views):
        """The boxes of all views, each object once; see `merge_boxes`."""
        parts = [self.restore(one, view.placement) for one, view in zip(predictions, views, strict=True)]
        boxes = np.concatenate([view.restore_boxes(part["boxes"]) for part, view in zip(parts, views, strict=True)])
        scores, classes = (np.concatenate([part[name] for part in parts]) for name in ("scores", "classes"))
        edges = np.float32([(left, top, right, bottom) for top, left, bottom, right in (view.window for view in views)])
        seen_in = np.arange(len(views)).repeat([len(part["boxes"]) for part in parts])
        merged = merge_boxes(boxes, scores, classes, edges[seen_in], seen_in, views[0].image_size)
        return dict(zip(_COLUMNS, merged, strict=True))

    def metric(self):
        return DetectionMetric(self.names)

    def image_score(self, sample, prediction):
        """The F1 of the detections that are drawn, at IoU 0.5; NaN where there is neither an object nor a detection."""
        if sample.boxes is None or sample.classes is None:
            return float("nan")
        drawn = prediction["scores"] >= SHOWN_FROM
        outcomes, found = self.outcomes(sample, {name: prediction[name][drawn] for name in self.columns})
        count = (outcomes != IGNORED).sum() + (found != IGNORED).sum()
        return float(ratio(2 * (found == HIT).sum(), count))

    def outcomes(self, sample, prediction):
        """The outcomes of one image's detections and objects, as `image_outcomes` has them."""
        return image_outcomes(sample, prediction)

    def draw_truth(self, image, sample, found=None):
        """The objects in their classes' colors, ignored ones gray and dashed; the smaller ones on top.

        Args:
            found: the outcomes of the objects, if they are to be shown.
        """
        if sample.boxes is None or sample.classes is None:
            return captioned(image, [Entry("not labeled")])
        ignored = np.zeros(len(sample.boxes), bool) if sample.ignored is None else sample.ignored
        order = np.argsort((sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1), kind="stable")
        styles = styles_of(found, self.object_styles, len(order))
        marks = [self._mark(sample.boxes[i], sample.classes[i], style=styles[i], ignored=ignored[i]) for i in order]
        return captioned(boxed(image, marks), self._truth_entries(sample.classes, ignored, found))

    def draw_prediction(self, image, prediction, outcomes=None):
        """The detections of score 0.3 and above, the best on top; the others are counted below.

        Args:
            outcomes: of the detections, if they are to be shown.
        """
        shown, entries = self._shown(prediction, outcomes)
        boxes, scores, classes = (prediction[name] for name in _COLUMNS)
        styles = styles_of(outcomes, self.detection_styles, len(scores))
        marks = [self._mark(boxes[i], classes[i], scores[i], styles[i], styles[i] == "gray") for i in shown]
        return captioned(boxed(image, marks), entries)

    def draw_comparison(self, image, sample, prediction):
        """The drawings with a line style for each of the `outcomes`, which the legends name.

        Solid: a true positive and its object. Dashed: a false positive. Dotted: a missed object. What is not counted is
        gray.
        """
        if sample.boxes is None or sample.classes is None:
            return super().draw_comparison(image, sample, prediction)
        shown, _ = self._shown(prediction)
        outcomes = np.full(len(prediction["scores"]), UNDRAWN, np.int8)
        outcomes[shown], found = self.outcomes(sample, {name: prediction[name][shown] for name in self.columns})
        return [
            ("ground truth", self.draw_truth(image, sample, found)),
            ("prediction", self.draw_prediction(image, prediction, outcomes)),
        ]

    def _truth_entries(self, classes, ignored, found=None):
        counts = [("", classes[~ignored]), (" (not counted)", classes[ignored])]
        entries = [
            Entry(f"{self._name(number)}{note}: {count}", GRAY if note else self._swatch(number), filled=not note)
            for note, classes in counts
            for number, count in zip(*np.unique(classes, return_counts=True), strict=True)
        ]
        return [*entries, *_outcome_entries(found, self.object_styles)] or [Entry("no objects")]

    def _shown(self, prediction, outcomes=None):
        """The numbers of the detections to draw, the best first, and the legend."""
        scores, classes = prediction["scores"], prediction["classes"]
        shown = np.argsort(-scores, kind="stable")[: int((scores >= SHOWN_FROM).sum())][: self.most_shown]
        entries = [
            Entry(f"{self._name(number)}: {count}", self._swatch(number))
            for number, count in zip(*np.unique(classes[shown], return_counts=True), strict=True)
        ]
        if not len(shown):
            best = f", the best {scores.max():.1%}" if len(scores) else ""
            entries.append(Entry(f"nothing above {SHOWN_FROM:.0%}{best}"))
        elif len(shown) < len(scores):
            entries.append(Entry(f"+ {len(scores) - len(shown)} with lower scores"))
        return shown, [*entries, *_outcome_entries(outcomes, self.detection_styles)]

    def _mark(self, box, number, score=None, style="solid", ignored=False, outlined=True, ink=None):
        text = self._name(number) if score is None else f"{self._name(number)} {score:.2f}"
        style, ink = ("dashed", GRAY) if ignored else (style, ink or self._color(number))
        return Mark(tuple(box.tolist()), text, ink, style, outlined)

    def _name(self, number):
        return self.names[number]

    def _color(self, number):
        return color(int(number))

    def _swatch(self, number):
        """The color of a class in the legend; None: it has none."""
        return self._color(number)

    def to_json(self, prediction):
        """[{"box": [x1, y1, x2, y2], "class", "score"}], best first, without a score threshold.

        Boxes are in pixels of the original image, rounded to hundredths; scores have 6 digits.
        """
        boxes, scores, classes = (prediction[name] for name in _COLUMNS)
        return [
            {
                "box": [round(value, 2) for value in boxes[i].tolist()],
                "class": self.names[classes[i]],
                "score": float(f"{scores[i]:.6g}"),
            }
            for i in np.argsort(-scores, kind="stable")
        ]

    def results(self, prediction, sample, source):
        return source.results(sample, prediction)


def styles_of(outcomes, styles, count) -> list[str]:
    """The line style of each of `count` boxes; solid if their outcomes are not to be shown."""
    if outcomes is None:
        return ["solid"] * count
    return [styles[outcome][0] if outcome in styles else "solid" for outcome in outcomes.tolist()]


def _outcome_entries(outcomes, styles) -> list[Entry]:
    """The lines of a legend that say what the line styles mean."""
    counts = {outcome: 0 if outcomes is None else int((outcomes == outcome).sum()) for outcome in styles}
    return [Entry(text.format(counts[outcome])) for outcome, (_, text) in styles.items() if counts[outcome]]
