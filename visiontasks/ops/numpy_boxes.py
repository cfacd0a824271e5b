"""Box operations on the host, in NumPy: for data and for predictions outside of the graph."""

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """float64 (…,) of boxes (…, 4) x1, y1, x2, y2; 0 if width or height is negative."""
    boxes = np.asarray(boxes, np.float64)
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(axis=-1)


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair: (N, 4) and (M, 4) to float64 (N, M); 0 for empty boxes."""
    return paired_iou(np.asarray(boxes)[:, None], np.asarray(others)[None])


def clip(boxes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Clip boxes (…, 4) to windows (…, 4), both x1, y1, x2, y2; a box outside of its window gets no area."""
    return np.clip(boxes, np.tile(windows[..., :2], 2), np.tile(windows[..., 2:], 2))


def turned(boxes: np.ndarray, degrees: np.ndarray | float) -> np.ndarray:
    """The upright boxes around boxes (…, 4) x1, y1, x2, y2 that are turned about their centers by degrees (…,)."""
    boxes, radians = np.asarray(boxes, np.float64), np.deg2rad(degrees)[..., None]
    centers, halves = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    reach = np.abs(np.cos(radians)) * halves + np.abs(np.sin(radians)) * halves[..., ::-1]
    return np.concatenate([centers - reach, centers + reach], axis=-1)


def paired_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with its counterpart: (…, 4) and (…, 4) to float64 (…,)."""
    boxes, others = np.asarray(boxes, np.float64), np.asarray(others, np.float64)
    lengths = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(boxes[..., :2], others[..., :2])
    shared = np.maximum(lengths, 0).prod(axis=-1)
    union = area(boxes) + area(others) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
