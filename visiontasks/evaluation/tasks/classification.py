"""`Classification`: one class for each image."""

from visiontasks.drawing.colors import color
from visiontasks.drawing.panels import Entry, captioned
from visiontasks.evaluation.metrics.classification import Classification as ClassificationMetric
from visiontasks.evaluation.tasks.scores import Scores, ranked

SHOWN = 5


class Classification(Scores):
    """Predictions are {"scores": float32 (C,)}, a softmax over the classes."""

    main_metric = "top1"

    def metric(self):
        return ClassificationMetric(self.names)

    def image_score(self, sample, prediction):
        """The score of the true class."""
        unlabeled = sample.label is None or sample.label < 0
        return float("nan") if unlabeled else float(prediction["scores"][sample.label])

    def draw_truth(self, image, sample):
        if sample.label is None or sample.label < 0:
            return captioned(image, [Entry("not labeled")])
        return captioned(image, [Entry(self.names[sample.label], color(sample.label))])

    def draw_prediction(self, image, prediction):
        best = ranked(prediction["scores"])[:SHOWN]
        return captioned(image, [Entry(self.names[i], color(i), score) for i, score in best])

    def to_json(self, prediction):
        """[{"name", "score"}], the five best, best first."""
        return [{"name": self.names[i], "score": score} for i, score in ranked(prediction["scores"])[:SHOWN]]
