"""Left and right: which keypoint becomes which in a mirrored image."""

from collections.abc import Sequence

import numpy as np

from visiontasks.errors import RecipeError
from visiontasks.skeleton import Skeleton

MIRRORS = ("HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry")  # albumentations' that may mirror


def partners(names: Sequence[str], transform: str) -> np.ndarray:
    """int (K,): the index that each keypoint gets in a mirrored image. left_eye gets right_eye's, nose keeps its own.

    Args:
        names: of the keypoints, or their Skeleton.
        transform: the one that mirrors, for the error.

    Raises:
        RecipeError: neither the skeleton nor the names show the pairs.
    """
    skeleton = Skeleton.of(names)
    if skeleton.partners is None:
        expected = "names that show the pairs, such as left_eye and right_eye"
        if skeleton.unpaired:
            expected = "{1!r} beside {0!r}".format(*skeleton.unpaired[0])
        raise RecipeError(
            f"{transform} turns left keypoints into right ones; expected {expected}, got {list(skeleton)}. Name the "
            f"keypoints so, give the source a skeleton with pairs, or remove {transform}.",
            "augment",
        )
    return np.array(skeleton.partners, int)


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
