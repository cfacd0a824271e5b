"""Occlusion: how much the score falls where a gray square hides the image."""

import numpy as np

from visiontasks.explain.scoring import Explained
from visiontasks.geometry import PAD_VALUE

SQUARES = 7  # along the shorter axis, by default


def occlusion(
    model, images, target=None, *, head=None, box=None, size: int | None = None, stride: int | None = None, batch=32
) -> np.ndarray:
    """The fall of the score while a gray square slides over the image. It needs no gradient.

    Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901, section 4.2.

    Args:
        model, images, target, head, box: see `Explained`.
        size: width and height of the square in pixels; None for a seventh of the shorter axis, but 4 at least.
        stride: pixels from one square to the next; None for half of the size. The last squares end at the borders.
        batch: images that are computed at once.

    Returns:
        float32 (B, H, W): the mean fall over the squares that hide a pixel; negative where hiding it helps the target.
    """
    return occluded_of(Explained(model, images, target, head, box), size, stride, batch)


def occluded_of(explained: Explained, size=None, stride=None, batch=32) -> np.ndarray:
    """As `occlusion`, of an Explained."""
    count, height, width, _ = explained.images.shape
    size = min(size or max(4, min(height, width) // SQUARES), height, width)
    corners = [(top, left) for top in starts(height, size, stride) for left in starts(width, size, stride)]
    before, falls = explained.scores(), np.zeros((count, height, width), np.float32)
    hidden = np.zeros((height, width), np.float32)
    for top, left in corners:
        hidden[top : top + size, left : left + size] += 1
    for row, image in enumerate(explained.images):
        for first in range(0, len(corners), batch):
            some = corners[first : first + batch]
            copies = np.repeat(image[None], len(some), axis=0)
            for copy, (top, left) in zip(copies, some, strict=True):
                copy[top : top + size, left : left + size] = PAD_VALUE
            for (top, left), score in zip(some, explained.scores(copies, row, batch), strict=True):
                falls[row, top : top + size, left : left + size] += before[row] - score
    return falls / hidden


def starts(length: int, size: int, stride: int | None = None) -> list[int]:
    """Where squares of a size begin along an axis, so that they hide all of it; the last one ends at the border."""
    stride = stride or max(1, size // 2)
    return sorted({*range(0, length - size, stride), length - size})
