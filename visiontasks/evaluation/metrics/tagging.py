"""`Tagging`: average precision and F1 of each tag."""

from collections.abc import Sequence

import numpy as np

from visiontasks.evaluation.metrics.confusion import by_class, mean_of_defined, ratio
from visiontasks.evaluation.metrics.metric import Metric


class Tagging(Metric):
    """Scores images with any number of tags, from predictions {"scores": float32 (C,)}.

    `result` gives "map", the mean over tags of the average precision; "f1", the mean over tags of the F1 at each tag's
    best threshold; "f1_micro", the F1 of all tags' counts together at those thresholds; and for each tag "ap", "f1" and
    "threshold" (predict the tag if its score is at least that). The thresholds are chosen on the scored images, so F1
    is an upper bound of the value on other images. Tags (-1) and images that are not labeled are left out. A tag that
    is never present has NaN and is left out of the means.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self._targets: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []

    def update(self, sample, prediction):
        if sample.tags is None:
            return
        scores, expected = np.asarray(prediction["scores"], np.float32), (len(self.names),)
        for name, value in (("scores", scores), ("tags", sample.tags)):
            if value.shape != expected:
                raise ValueError(
                    f"{name} of {sample.id or sample.path}: expected {expected}, one per tag; got {value.shape}."
                )
        self._targets.append(sample.tags.astype(np.int8))
        self._scores.append(scores)

    def result(self):
        shape = (-1, len(self.names))
        targets, scores = np.reshape(self._targets, shape), np.reshape(self._scores, shape)
        rows = [score_tag(t[t >= 0], s[t >= 0]) for t, s in zip(targets.T, scores.T, strict=True)]
        precisions, thresholds, hits, predicted, present = np.array(rows, np.float64).T
        f1 = np.where(present > 0, ratio(2 * hits, predicted + present), np.nan)
        return {
            "map": mean_of_defined(precisions),
            "f1": mean_of_defined(f1),
            "f1_micro": float(ratio(2 * hits.sum(), (predicted + present).sum())),
            **by_class("ap", self.names, precisions),
            **by_class("f1", self.names, f1),
            **by_class("threshold", self.names, thresholds),
        }


def score_tag(targets: np.ndarray, scores: np.ndarray) -> tuple[float, float, int, int, int]:
    """One tag's average precision, best threshold, and true positives, predictions and positives at it.

    Average precision is Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores, without interpolation (scikit-learn's definition).
    Of thresholds with equal F1 the highest is taken. Without positives: NaN, NaN, 0, 0, 0.

    Args:
        targets: (N,), 1 present, 0 absent.
        scores: (N,).
    """
    positives = int(targets.sum())
    if positives == 0:
        return np.nan, np.nan, 0, 0, 0
    order = np.argsort(-scores, kind="stable")
    targets, scores = targets[order], scores[order]
    # equal scores are above or below any threshold together: only the last of each run is a point of the curve
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits, predicted = np.cumsum(targets, dtype=np.int64)[ends], ends + 1
    precision = float(np.sum(np.diff(hits, prepend=0) / positives * (hits / predicted)))
    best = int(np.argmax(2 * hits / (predicted + positives)))
    return precision, float(scores[ends[best]]), int(hits[best]), int(predicted[best]), positives
