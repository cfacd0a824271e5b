"""Sorts class scores, and averages those of several views."""

from collections.abc import Sequence

import numpy as np


def ranked(scores: np.ndarray) -> list[tuple[int, float]]:
    """[(class number, score)], best first; for equal scores the lower number first. Scores have 6 digits."""
    order = np.argsort(-scores, kind="stable")
    return [(int(i), float(f"{scores[i]:.6g}")) for i in order]


def mean_scores(predictions: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """{"scores": float32 (C,)}, the mean of several predictions of one image."""
    return {"scores": np.mean([prediction["scores"] for prediction in predictions], axis=0, dtype=np.float32)}
