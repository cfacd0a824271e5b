"""Class scores, best first."""

import numpy as np


def ranked(scores: np.ndarray) -> list[tuple[int, float]]:
    """[(class number, score)], best first; among equal scores the lower number. Scores are kept to 6 digits."""
    order = np.argsort(-scores, kind="stable")
    return [(int(i), float(f"{scores[i]:.6g}")) for i in order]
