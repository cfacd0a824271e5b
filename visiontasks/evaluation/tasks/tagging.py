"""`Tagging`: any number of tags for each image."""

import numpy as np

from visiontasks.drawing.colors import color
from visiontasks.drawing.panels import Entry, captioned
from visiontasks.evaluation.metrics.tagging import Tagging as TaggingMetric
from visiontasks.evaluation.tasks.scores import Scores, ranked

PRESENT = 0.5
SHOWN_ABSENT = 3


class Tagging(Scores):
    """Predictions are {"scores": float32 (C,)}, a sigmoid for each tag."""

    main_metric = "map"

    def metric(self):
        return TaggingMetric(self.names)

    def image_score(self, sample, prediction):
        """The mean over the labeled tags of the score of what is true: that the tag is there, or that it is not."""
        if sample.tags is None or (sample.tags < 0).all():
            return float("nan")
        labeled = sample.tags >= 0
        return 1 - float(np.abs(prediction["scores"] - sample.tags)[labeled].mean())

    def draw_truth(self, image, sample):
        if sample.tags is None or (sample.tags < 0).all():
            return captioned(image, [Entry("not labeled")])
        entries = [Entry(self.names[i], color(i)) for i in (sample.tags > 0).nonzero()[0]]
        unknown = int((sample.tags < 0).sum())
        if unknown:
            entries.append(Entry(f"{unknown} not labeled"))
        return captioned(image, entries or [Entry("no tags")])

    def draw_prediction(self, image, prediction):
        """The tags with scores of 0.5 and above with filled swatches, then the next three with hollow ones."""
        tags = ranked(prediction["scores"])
        present = sum(score >= PRESENT for _, score in tags)
        shown = tags[: present + SHOWN_ABSENT]
        return captioned(image, [Entry(self.names[i], color(i), s, filled=s >= PRESENT) for i, s in shown])

    def to_json(self, prediction):
        """[{"name", "score"}], every tag, best first, without a score threshold."""
        return [{"name": self.names[i], "score": score} for i, score in ranked(prediction["scores"])]
