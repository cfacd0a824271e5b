"""Keypoints in NumPy: similarity, extent, and the box around them."""

from collections.abc import Sequence

import numpy as np

# of the box around an object: the area that OKS measures by, where none is known; of COCO's people the average
FILLED = 0.53


def oks(
    points: np.ndarray, others: np.ndarray, areas: np.ndarray, sigmas: Sequence[float], counted: np.ndarray
) -> np.ndarray:
    """Object keypoint similarity, float64 (N, M): the mean over the counted keypoints of exp(-d² / (2 · area · (2σ)²)).

    Lin et al., https://cocodataset.org/#keypoints-eval. Without a counted keypoint it is 0.

    Args:
        points: (N, K, 2 or more) x, y.
        others: (M, K, 2 or more).
        areas: (M,) in pixels².
        sigmas: (K,).
        counted: bool (M, K), the keypoints of `others` that are labeled.
    """
    similar = np.where(counted, similarity(points[:, None], others, areas[:, None], sigmas), 0)
    return similar.sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1)


def similarity(points: np.ndarray, others: np.ndarray, areas: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """Each keypoint's part of OKS, float64 (…, K), of points (…, K, 2 or more) and areas that fit (…, K)."""
    squares = np.square(np.float64(points[..., :2]) - others[..., :2]).sum(axis=-1)
    variances = np.square(2 * np.asarray(sigmas, np.float64))
    return np.exp(-squares / (2 * variances * (areas + np.spacing(1))))


def boxes_around(points: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """float64 (N, 4): the smallest boxes around the counted keypoints, bool (N, K), of (N, K, 2 or more); 0 without."""
    low = np.where(counted[..., None], points[..., :2], np.inf).min(axis=1)
    high = np.where(counted[..., None], points[..., :2], -np.inf).max(axis=1)
    boxes = np.concatenate([low, high], axis=1).astype(np.float64)
    return np.where(counted.any(axis=1)[:, None], boxes, 0.0)
