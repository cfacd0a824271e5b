"""Left and right: which keypoint is which after a picture has been mirrored."""

import re
from collections.abc import Sequence

import numpy as np

from visiontasks.errors import RecipeError

MIRRORS = ("HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry")  # albumentations' that may
_SIDES = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_SIDES |= {there: here for here, there in _SIDES.items()}
# left and right anywhere in a name; l and r where no letter is beside them
_SIDE = re.compile("left|right|Left|Right|LEFT|RIGHT|(?<![A-Za-z])[lrLR](?![A-Za-z])")


def partners(names: Sequence[str], transform: str) -> np.ndarray:
    """int (K,): the keypoint whose place each one takes in a mirrored picture: left_eye right_eye's, nose its own.

    Args:
        names: of the keypoints.
        transform: what mirrors, for the error.

    Raises:
        RecipeError: names that are bare numbers, or one of which says a side whose other is not among them.
    """
    names = list(map(str, names))
    if len(names) > 1 and all(name.isdecimal() for name in names):
        raise RecipeError(
            f"data.augment: {transform} makes left keypoints right ones; expected names that say which are a pair, "
            f"such as left_eye and right_eye, got {names}. Name them, or leave {transform} out."
        )
    others = [_SIDE.sub(lambda side: _SIDES[side[0]], name) for name in names]
    if missing := [(name, other) for name, other in zip(names, others, strict=True) if other not in names]:
        raise RecipeError(
            f"data.augment: {transform} makes left keypoints right ones; expected {missing[0][1]!r} beside "
            f"{missing[0][0]!r}, got {names}. Name it so, or leave {transform} out."
        )
    return np.array([names.index(other) for other in others], int)


def frame(image: np.ndarray) -> np.ndarray:
    """float (3, 2): a point in the middle of a picture, one to its right and one below."""
    return np.array([image.shape[1], image.shape[0]]) / 2 + [[0, 0], [1, 0], [0, 1]]


def mirrored(moved: np.ndarray) -> bool:
    """Whether the `frame` that a transform has moved is another hand's."""
    (ax, ay), (bx, by) = moved[1] - moved[0], moved[2] - moved[0]
    return bool(ax * by < ay * bx)
