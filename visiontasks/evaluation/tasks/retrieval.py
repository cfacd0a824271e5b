"""`Retrieval`: a vector for each image, near those of images of its class."""

import numpy as np

from visiontasks.drawing.colors import color
from visiontasks.drawing.panels import Entry, captioned
from visiontasks.evaluation.metrics.retrieval import Retrieval as RetrievalMetric
from visiontasks.evaluation.tasks.task import Task
from visiontasks.retrieval.features import normalized


class Retrieval(Task):
    """Predictions are {"embedding": float32 (D,)} of length 1. One image alone has no score and no drawing of it."""

    main_metric = "map@r"
    whole_image = True

    def restore(self, prediction, placement):
        return prediction

    def merge(self, predictions, views):
        """The mean of the views' embeddings, of length 1."""
        return {"embedding": normalized(np.mean([one["embedding"] for one in predictions], axis=0)[None])[0]}

    def metric(self):
        return RetrievalMetric(self.names)

    def draw_truth(self, image, sample):
        if sample.label is None or sample.label < 0:
            return captioned(image, [Entry("not labeled")])
        return captioned(image, [Entry(self.names[sample.label], color(sample.label))])

    def draw_prediction(self, image, prediction):
        return captioned(image, [Entry(f"embedding of {len(prediction['embedding'])} numbers")])

    def to_json(self, prediction):
        """The numbers of the embedding, a list; they have 6 digits."""
        return [float(f"{value:.6g}") for value in prediction["embedding"].tolist()]
