"""`Classification`: one class for each image."""

from visiontasks.drawing.colors import color
from visiontasks.drawing.panels import Entry, captioned
from visiontasks.evaluation.metrics.classification import Classification as ClassificationMetric
from visiontasks.evaluation.tasks.ranking import mean_scores, ranked
from visiontasks.evaluation.tasks.task import Task

SHOWN = 5


class Classification(Task):
    """Predictions are {"scores": float32 (C,)}, a softmax over the classes."""

    whole_image = True
    main_metric = "top1"

    def restore(self, prediction, placement):
        return prediction

    def merge(self, predictions, views):
        """The mean of the scores."""
        return mean_scores(predictions)

    def metric(self):
        return ClassificationMetric(self.names)

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
