"""Left and right: which keypoint becomes which in a mirrored image."""

import re
from collections.abc import Sequence

import numpy as np

from visiontasks.errors import RecipeError

MIRRORS = ("HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry")  # albumentations' that may mirror
_OPPOSITE = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_OPPOSITE |= {right: left for left, right in _OPPOSITE.items()}
# left and right anywhere in a name; l and r only without a letter beside them
_SIDE = re.compile("left|right|Left|Right|LEFT|RIGHT|(?<![A-Za-z])[lrLR](?![A-Za-z])")


def partners(names: Sequence[str], transform: str) -> np.ndarray:
    """int (K,): the index that each keypoint gets in a mirrored image. left_eye gets right_eye's, nose keeps its own.

    Args:
        names: of the keypoints.
        transform: the one that mirrors, for the error.

    Raises:
        RecipeError: the names are only numbers, or a name has left or right but no counterpart.
    """
    names = list(map(str, names))
    if len(names) > 1 and all(name.isdecimal() for name in names):
        raise RecipeError(
            f"{transform} turns left keypoints into right ones; expected names that show the pairs, "
            f"such as left_eye and right_eye, got {names}. Name the keypoints so, or remove {transform}.",
            "augment",
        )
    others = [_SIDE.sub(lambda side: _OPPOSITE[side[0]], name) for name in names]
    if missing := [(name, other) for name, other in zip(names, others, strict=True) if other not in names]:
        raise RecipeError(
            f"{transform} turns left keypoints into right ones; expected {missing[0][1]!r} beside "
            f"{missing[0][0]!r}, got {names}. Name it so, or remove {transform}.",
            "augment",
        )
    return np.array([names.index(other) for other in others], int)


def frame(image: np.ndarray) -> np.ndarray:
    """float (3, 2): a point in the middle of an image, one to its right and one below it."""
    height, width = image.shape[:2]
    return np.array([width, height]) / 2 + np.array([[0, 0], [width, 0], [0, height]]) / 4


def affine_map(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """float (2, 3): the affine map of three points (3, 2) to three others."""
    return np.linalg.solve(np.column_stack([before, np.ones(3)]), np.asarray(after, np.float64)).T


def mirrored(moved: np.ndarray) -> bool:
    """Whether a transform that moved the points of `frame` has mirrored the image."""
    (ax, ay), (bx, by) = moved[1] - moved[0], moved[2] - moved[0]
    return bool(ax * by < ay * bx)
