"""Draws skeletons on images: limbs in the color of their object, keypoints in the color of their side."""

from collections.abc import Sequence

import cv2
import numpy as np

from visiontasks.drawing.colors import OKABE_ITO
from visiontasks.drawing.panels import INK, PAPER, Entry, fitted, unit
from visiontasks.skeleton import Skeleton

LEFT, RIGHT, MIDDLE = OKABE_ITO[1], OKABE_ITO[5], PAPER  # of a keypoint's side, of the object itself
_BITS = 4  # OpenCV draws in fixed point: 1/16 of a pixel


def skeletons(
    image: np.ndarray,
    objects: Sequence[np.ndarray],
    skeleton: Skeleton,
    colors: Sequence[tuple[int, int, int]],
    drawn: np.ndarray | None = None,
) -> np.ndarray:
    """The fitted `image` with the skeleton of every object; the first ones are on top.

    Args:
        image: uint8 (H, W, 3).
        objects: each float (K, 3), x and y in pixels of the image and a mark: 0 leaves the keypoint out, below 2 draws
            it hollow, such as one that is hidden.
        skeleton: of the keypoints.
        colors: RGB of the limbs of each object.
        drawn: the fitted image with what is drawn already.
    """
    drawn = (fitted(image) if drawn is None else drawn).copy()
    factor = np.divide(drawn.shape[1::-1], image.shape[1::-1])
    most = max(2, unit(drawn) // 6)
    inks = side_colors(skeleton)
    for points, color in reversed(list(zip(objects, colors, strict=True))):
        places = np.asarray(points[:, :2], np.float64) * factor
        marks = points[:, 2]
        # thinner lines in small objects, or nothing of them would be seen
        seen = places[marks > 0]
        extent = np.ptp(seen, axis=0).max() if len(seen) else 0
        width = int(np.clip(round(extent / 40), 1, most))
        fixed = np.round((places - 0.5) * 2**_BITS).astype(int)
        ends = [(fixed[a].tolist(), fixed[b].tolist()) for a, b in skeleton.limbs if marks[a] > 0 and marks[b] > 0]
        for ink, thick in ((INK, width + 2), (color, width)):
            for start, end in ends:
                cv2.line(drawn, start, end, ink, thick, cv2.LINE_AA, _BITS)
        radius = (width + 1) * 2**_BITS
        for place, mark, ink in zip(fixed.tolist(), marks, inks, strict=True):
            if mark > 0:
                cv2.circle(drawn, place, radius + 2**_BITS, INK, -1, cv2.LINE_AA, _BITS)
                cv2.circle(drawn, place, radius, ink, -1, cv2.LINE_AA, _BITS)
                if mark < 2 and width > 1:
                    cv2.circle(drawn, place, radius // 2, INK, -1, cv2.LINE_AA, _BITS)
    return drawn


def side_colors(skeleton: Skeleton) -> list[tuple[int, int, int]]:
    """The color of each keypoint, by its side."""
    by_side = {"left": LEFT, "right": RIGHT, None: MIDDLE}
    return [by_side[side] for side in skeleton.sides]


def side_entries(skeleton: Skeleton) -> list[Entry]:
    """The lines of a legend that say what the keypoints' colors mean."""
    return [Entry(name, ink) for name, ink in (("left", LEFT), ("right", RIGHT)) if name in skeleton.sides]
