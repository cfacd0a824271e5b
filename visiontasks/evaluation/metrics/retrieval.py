"""`Retrieval`: recall@k and mAP@R of embeddings, each image a query among the others."""

import numpy as np

from visiontasks.evaluation.metrics.metric import Metric, check_classes
from visiontasks.retrieval.features import normalized
from visiontasks.retrieval.metrics import RECALL_AT, retrieval_scores


class Retrieval(Metric):
    """Scores images with one class each, from predictions {"embedding": float32 (D,)}.

    `result` gives what `visiontasks.retrieval.metrics.retrieval_scores` does: "recall@1", "recall@2", "recall@4",
    "recall@8" and "map@r"; NaN if no two images have one class. All embeddings are kept, D numbers an image. An image
    without a label is not counted.
    """

    def __init__(self, names):
        self.names, self.vectors, self.labels = tuple(names), [], []

    def update(self, sample, prediction):
        if sample.label is None or sample.label < 0:
            return
        check_classes("label", sample, sample.label, len(self.names))
        self.vectors.append(np.asarray(prediction["embedding"], np.float32))
        self.labels.append(int(sample.label))

    def result(self):
        if len(self.labels) < 2:
            return {**{f"recall@{k}": float("nan") for k in RECALL_AT}, "map@r": float("nan")}
        return retrieval_scores(normalized(np.stack(self.vectors)), np.array(self.labels))
