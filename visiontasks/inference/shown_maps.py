"""The maps that keypoints were read from, to be drawn: where they lie in the image."""

from typing import NamedTuple

import numpy as np

from visiontasks.geometry import Placement, Window


class Maps(NamedTuple):
    """Maps over a window of an image.

    Args:
        heat: float32 (h, w), 0..1: the highest value of all keypoints' heat maps.
        field: float32 (h, w, 2), x and y: the sum of all limbs' affinity fields; None: there are none.
        window: (left, top, right, bottom), in the image's pixels, which the maps fill; it may exceed the image.
    """

    heat: np.ndarray
    field: np.ndarray | None
    window: tuple[float, float, float, float]

    def moved(self, left: float, top: float) -> "Maps":
        """The same maps where the image is a part of a larger one, from `left` and `top` on."""
        return self._replace(window=tuple(np.add(self.window, (left, top, left, top)).tolist()))


def of_canvas(prediction: dict[str, np.ndarray], placement: Placement | Window) -> list[Maps]:
    """The Maps of a decoded prediction with `heat` and perhaps `field`, over its canvas; NaN become 0."""
    height, width = placement.size
    corners = placement.restore_points(np.float32([[0, 0], [width, height]]))
    field = prediction.get("field")
    field = None if field is None else np.nan_to_num(field)
    return [Maps(np.nan_to_num(prediction["heat"]), field, tuple(corners.reshape(-1).tolist()))]


def of_boxes(logits: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> list[Maps]:
    """The Maps over each of D boxes: a keypoint's softmax over the cells, scaled so that its peak is its score.

    NaN become 0.

    Args:
        logits: float32 (D, S, S, K).
        boxes: float32 (D, 4), in the image's pixels.
        scores: float32 (D, K).
    """
    logits = np.nan_to_num(logits)
    heat = (np.exp(logits - logits.max(axis=(1, 2), keepdims=True)) * scores[:, None, None]).max(axis=-1)
    return [Maps(one, None, tuple(box)) for one, box in zip(heat, boxes.tolist(), strict=True)]
