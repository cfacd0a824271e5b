"""Draws the masks of objects and of classes on images."""

from collections.abc import Collection, Sequence

import cv2
import numpy as np

from visiontasks.drawing.colors import GRAY, color
from visiontasks.drawing.panels import fitted, unit
from visiontasks.sample import VOID

TINT, PALE = 0.45, 0.25  # the share of a color, and of gray in what lies beneath
UNTINTED = np.iinfo(np.int16).max  # above all class numbers


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
    drawn = _tint(image, np.array([(0, 0, 0), *colors], np.uint8)[labels], labels > 0)
    # a line inside each object, so that neighbors have a line each
    kernel = _kernel(image)
    edge = (labels > 0) & ((cv2.erode(labels, kernel) != labels) | (cv2.dilate(labels, kernel) != labels))
    drawn[edge] = 255
    return drawn


def tinted(image: np.ndarray, mask: np.ndarray, untinted: Collection[int] = ()) -> np.ndarray:
    """The fitted `image` with each class's pixels tinted, a white line between classes, void hatched.

    What lies beneath a tint is paler.

    Args:
        image: uint8 (H, W, 3).
        mask: int32 (H, W), class indices, 255 = void.
        untinted: classes whose pixels stay as they are.
    """
    image, mask = fitted(image), fitted(mask.astype(np.int16), nearest=True)  # OpenCV has no filters for int32
    colors = np.array([color(i) for i in range(max(VOID, int(mask.max())) + 1)], np.uint8)
    colors[VOID] = GRAY
    layer, tint = colors[mask], ~np.isin(mask, list(untinted))
    drawn = _tint(image, layer, tint)
    line = max(1, unit(image) // 8)
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    hatch = (mask == VOID) & ((rows + columns) % (8 * line) < 2 * line)
    np.copyto(drawn, layer, where=hatch[..., None])
    # one line between two classes, in the one with the lower number: thin regions have to keep their color
    ranks = np.where(tint, mask, UNTINTED)
    drawn[cv2.dilate(ranks, _kernel(image)) != ranks] = 255
    return drawn


def _tint(image, layer, where):
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    pale = cv2.addWeighted(image, 1 - PALE, gray, PALE, 0)
    drawn = cv2.addWeighted(pale, 1 - TINT, layer, TINT, 0)
    np.copyto(drawn, image, where=~where[..., None])
    return drawn


def _kernel(image):
    """The structuring element for a white line, one pixel wide, in large images more."""
    size = 2 * max(1, unit(image) // 16) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
