"""Boxes on the host: NumPy's half of `boxes` and `nms`, for data and for answers that have left the graph."""

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """float64 (…,) of boxes (…, 4) x1, y1, x2, y2; 0 where a side is negative."""
    boxes = np.asarray(boxes, np.float64)
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(axis=-1)


def intersection(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area that each pair shares: (N, 4) and (M, 4) to float64 (N, M)."""
    boxes, others = np.asarray(boxes, np.float64)[:, None], np.asarray(others, np.float64)
    low, high = np.maximum(boxes[..., :2], others[:, :2]), np.minimum(boxes[..., 2:], others[:, 2:])
    return np.maximum(high - low, 0).prod(axis=-1)


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair: (N, 4) and (M, 4) to float64 (N, M); 0 for empty boxes."""
    shared = intersection(boxes, others)
    union = area(boxes)[:, None] + area(others) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
