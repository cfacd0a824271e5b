"""`Scores`: the base of tasks that predict a score for each class of the whole image."""

import numpy as np

from visiontasks.evaluation.tasks.task import Task


class Scores(Task):
    """Predictions are {"scores": float32 (C,)}; those of several views are averaged."""

    whole_image = True

    def restore(self, prediction, placement):
        return prediction

    def merge(self, predictions, views):
        return {"scores": np.mean([prediction["scores"] for prediction in predictions], axis=0, dtype=np.float32)}


def ranked(scores: np.ndarray) -> list[tuple[int, float]]:
    """[(class number, score)], best first; for equal scores the lower number first. Scores have 6 digits."""
    order = np.argsort(-scores, kind="stable")
    return [(int(i), float(f"{scores[i]:.6g}")) for i in order]
