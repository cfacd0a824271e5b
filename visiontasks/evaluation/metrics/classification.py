"""`Classification`: top-1, top-5, precision, recall and F1 for one class per image."""

from collections.abc import Sequence

import numpy as np

from visiontasks.evaluation.metrics.confusion import Confusion, by_class, mean_of_defined, ratio
from visiontasks.evaluation.metrics.metric import Metric, check_classes


class Classification(Metric):
    """Scores images with one class each, from predictions {"scores": float32 (C,)}.

    `result` gives "top1"; "top5" if there are more than 5 classes (with fewer it would always be 1); "precision",
    "recall" and "f1", the unweighted means over the classes that occur as targets or predictions (macro averages); and
    these three for each class. As with scikit-learn's `zero_division=0`, a class that occurs but is never predicted has
    precision 0. A class that does not occur at all has NaN and is left out of the means. Of equal scores the lower
    class index comes first. An image without a label is not counted.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.confusion = Confusion(self.names)
        self.in_top5 = 0

    def update(self, sample, prediction):
        label, scores = sample.label, np.asarray(prediction["scores"])
        if label is None or label < 0:
            return
        check_classes("label", sample, label, len(self.names))
        if scores.shape != (len(self.names),):
            raise ValueError(f"scores: expected ({len(self.names)},), one per class; got {scores.shape}.")
        self.confusion.add(np.array([label]), np.array([scores.argmax()]))
        ahead = (scores > scores[label]).sum() + (scores[:label] == scores[label]).sum()
        self.in_top5 += int(ahead < 5)

    def result(self):
        counts = self.confusion
        occurs = counts.true + counts.predicted > 0
        metrics = {
            "precision": np.where(occurs, np.nan_to_num(ratio(counts.correct, counts.predicted)), np.nan),
            "recall": np.where(occurs, np.nan_to_num(ratio(counts.correct, counts.true)), np.nan),
            "f1": counts.f1,
        }
        result = {"top1": counts.accuracy}
        if len(self.names) > 5:
            result["top5"] = float(ratio(self.in_top5, counts.counts.sum()))
        result |= {metric: mean_of_defined(values) for metric, values in metrics.items()}
        for metric, values in metrics.items():
            result |= by_class(metric, self.names, values)
        return result

    def charts(self):
        return {"confusion": self.confusion.figure("images of each class, % predicted as")}
