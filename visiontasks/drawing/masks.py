"""Draws the masks of objects on images."""

from collections.abc import Sequence

import cv2
import numpy as np

from visiontasks.drawing.panels import fitted, unit

TINT, PALE = 0.45, 0.25  # the share of an object's color, and of gray in what lies beneath


def filled(image: np.ndarray, labels: np.ndarray, colors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """The fitted `image` with each object tinted in its color inside a white line; what lies beneath is paler.

    Args:
        image: uint8 (H, W, 3).
        labels: int32 (H, W), the number of the object at each pixel, -1 none.
        colors: of the objects.
    """
    image = fitted(image)
    if not len(colors):
        return image.copy()
    labels = fitted((labels + 1).astype(np.uint16), nearest=True)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    pale = cv2.addWeighted(image, 1 - PALE, gray, PALE, 0)
    layer = np.array([(0, 0, 0), *colors], np.uint8)[labels]
    drawn = cv2.addWeighted(pale, 1 - TINT, layer, TINT, 0)
    np.copyto(drawn, image, where=(labels == 0)[..., None])
    # a line inside each object, so that neighbors have a line each
    size = 2 * max(1, unit(image) // 16) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    edge = (labels > 0) & ((cv2.erode(labels, kernel) != labels) | (cv2.dilate(labels, kernel) != labels))
    drawn[edge] = 255
    return drawn
