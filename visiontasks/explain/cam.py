"""Grad-CAM, Grad-CAM++ and HiResCAM: which cells of a feature map a score rests on."""

import cv2
import numpy as np

from visiontasks.errors import UserError, near
from visiontasks.explain.scoring import Explained

EPSILON = 1e-6  # of Grad-CAM++'s denominator, which is 2 for small gradients


def grad_cam(
    model,
    images,
    target=None,
    *,
    head=None,
    box=None,
    tap: str | None = None,
    plus: bool = False,
    local: bool | None = None,
):
    """Grad-CAM: a level's channels, each weighted by the gradient of the score, added up and rectified.

    Of a class or a tag each channel has one weight, its mean gradient: Selvaraju et al. 2017,
    https://arxiv.org/abs/1610.02391, equations 1 and 2. The score of a box, a mask or a joint rests on the cells around
    it, and a channel's mean gradient says nothing of the others. So there each cell is weighted by its own gradient:
    HiResCAM, Draelos and Carin 2020, https://arxiv.org/abs/2011.08891. Of a linear layer after average pooling both
    are the same.

    A head with several levels has a map of each: they are added, each divided by the pixels of its cells, so that a
    level's share of the sum is its share of the score.

    Args:
        model, images, target, head, box: see `Explained`.
        tap: the level, such as C5; None for all that the head taps.
        plus: Grad-CAM++ (Chattopadhay et al. 2018, https://arxiv.org/abs/1710.11063, equations 10 and 19): the weights
            are of the positive gradients alone, more where they are few; one for each channel.
        local: True for HiResCAM, False for Grad-CAM; None for what the kind of the target asks for.

    Returns:
        float32 (B, H, W), 0 and above, interpolated to the images' size; 0 everywhere where nothing speaks for the
        target.

    Raises:
        UserError: as `Explained`, or the head has no such tap.
    """
    return cam_of(Explained(model, images, target, head, box), tap, plus, local)


def cam_of(explained: Explained, tap: str | None = None, plus: bool = False, local: bool | None = None) -> np.ndarray:
    """As `grad_cam`, of an Explained."""
    if tap is not None and tap not in explained.levels:
        raise UserError(f"head {explained.head.name!r} has no {tap!r}. {near(tap, explained.levels)}", "tap")
    local = (not explained.of_the_whole_image if local is None else local) and not plus
    found = [weighted(*explained.feature_gradients(name), plus, local) for name in ([tap] if tap else explained.levels)]
    height, width = explained.images.shape[1:3]
    deepest, total = found[-1][0].size, 0.0
    for maps in found:
        large = np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in maps])
        total = total + large * (maps[0].size / deepest)
    return total.astype(np.float32)


def weighted(features: np.ndarray, slopes: np.ndarray, plus: bool = False, local: bool = False) -> np.ndarray:
    """float32 (B, h, w): features and gradients (B, h, w, C) to a map, equations 1 and 2."""
    if local:
        weights = slopes
    elif plus:
        # equation 19 is g² / (2 g² + ΣA g³), where g² cancels: whatever the size of the gradients. The exponential of
        # the score, which the paper differentiates, is a factor of the whole map
        below = 2 + features.sum(axis=(1, 2), keepdims=True) * slopes
        shares = 1 / np.where(np.abs(below) > EPSILON, below, 1.0)
        weights = (shares * np.maximum(slopes, 0)).sum(axis=(1, 2), keepdims=True)
    else:
        weights = slopes.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * features).sum(axis=-1), 0)
