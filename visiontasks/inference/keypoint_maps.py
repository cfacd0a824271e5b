"""Points out of the heat maps that Keypoint R-CNN lays over boxes."""

from collections.abc import Sequence

import cv2
import numpy as np

from visiontasks.ops.numpy_keypoints import FILLED

HALF = np.sqrt(2 * np.log(2))  # where OKS's exp(-d² / 2s²) is a half, in s


def keypoints_of(maps: np.ndarray, boxes: np.ndarray, sigmas: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The keypoints of D boxes: float32 (D, K, 3), x, y and score; and float32 (D, K), the logits at these points.

    As in torchvision: a map, interpolated to twice its size, is enlarged to the box's pixels by bicubic interpolation
    (with a = -0.75, as OpenCV and PyTorch have it), and the keypoint is its highest pixel. The logit there says little
    without the others. The score is a probability: what the softmax over the map's cells gives to those within the
    distance at which the keypoint's part of OKS is a half.

    Args:
        maps: float32 (D, S / 2, S / 2, K), logits, as `KeypointBranch` has them.
        boxes: float32 (D, 4), in pixels.
        sigmas: of OKS, one per keypoint.
    """
    count, size, _, points = maps.shape
    found, logits = np.zeros((count, points, 3), np.float32), np.zeros((count, points), np.float32)
    reach = (2 * HALF * np.sqrt(FILLED) * np.asarray(sigmas, np.float32)) ** 2
    for number, (x1, y1, x2, y2) in enumerate(np.asarray(boxes, np.float32)):
        extent = np.maximum([x2 - x1, y2 - y1], np.float32(1))
        width, height = np.ceil(extent).astype(int).tolist()
        cells = cv2.resize(maps[number], (2 * size, 2 * size), interpolation=cv2.INTER_LINEAR)
        cells = cells.reshape(2 * size, 2 * size, points)
        pixels = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC).reshape(-1, points)
        best = pixels.argmax(axis=0)
        logits[number] = pixels[best, np.arange(points)]
        inner = (np.stack([best % width, best // width], axis=1) + 0.5) * (extent / (width, height))
        found[number, :, :2] = inner + (x1, y1)
        found[number, :, 2] = _mass(cells, inner / extent, extent, reach)
    return found, logits


def _mass(cells, places, extent, reach):
    """(K,): the softmax's share of the cells around each place; all in units of the square root of the box's area."""
    scale = extent / np.sqrt(extent.prod())
    centers = (np.arange(len(cells), dtype=np.float32) + 0.5) / len(cells)
    across, down = (np.square((centers[:, None] - places[:, axis]) * scale[axis]) for axis in (0, 1))
    near = down[:, None] + across[None] <= np.maximum(reach, 0.5 * (scale.max() / len(cells)) ** 2)
    shares = np.exp(cells - cells.max(axis=(0, 1)))
    return (shares * near).sum(axis=(0, 1)) / shares.sum(axis=(0, 1))
