"""RISE: which pixels were seen when random masks left a high score."""

import cv2
import numpy as np

from visiontasks.explain.scoring import Explained
from visiontasks.geometry import PAD_VALUE


def rise(
    model, images, target=None, *, head=None, box=None, masks=500, cells=7, keep=0.5, seed=0, batch=32
) -> np.ndarray:
    """RISE: the mean of random smooth masks, each weighted by the score of the image under it. It needs no gradient.

    Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421, section 3 and equation 6. Scores may be logits here, so their
    mean is subtracted: the map's expectation stays, but for a constant, and its noise is far less. What a mask hides is
    gray.

    Args:
        model, images, target, head, box: see `Explained`.
        masks: their number.
        cells: of a mask along an axis, before it is enlarged and shifted.
        keep: the share of cells that a mask shows.
        seed: of the masks.
        batch: images that are computed at once.

    Returns:
        float32 (B, H, W): above 0 where seeing a pixel raises the score.
    """
    return rise_of(Explained(model, images, target, head, box), masks, cells, keep, seed, batch)


def rise_of(explained: Explained, masks=500, cells=7, keep=0.5, seed=0, batch=32) -> np.ndarray:
    """As `rise`, of an Explained."""
    size, found = explained.images.shape[1:3], []
    for row, image in enumerate(explained.images):
        rng, total, of_masks, weighted = np.random.default_rng(seed), 0.0, 0.0, 0.0
        for start in range(0, masks, batch):
            shown = random_masks(min(batch, masks - start), size, cells, keep, rng)
            blended = shown[..., None] * image + (1 - shown[..., None]) * PAD_VALUE
            scores = explained.scores(blended, row, batch)
            weighted = weighted + np.tensordot(scores, shown, 1)
            total, of_masks = total + scores.sum(), of_masks + shown.sum(axis=0)
        found.append((weighted - total / masks * of_masks) / (masks * keep))
    return np.stack(found).astype(np.float32)


def random_masks(count: int, size: tuple[int, int], cells: int, keep: float, rng) -> np.ndarray:
    """float32 (count, H, W), 0..1: coarse random masks, enlarged bilinearly and shifted by up to a cell."""
    height, width = size
    rows, columns = -(-height // cells), -(-width // cells)
    masks = np.empty((count, height, width), np.float32)
    for mask in masks:
        coarse = (rng.random((cells + 1, cells + 1)) < keep).astype(np.float32)
        large = cv2.resize(coarse, ((cells + 1) * columns, (cells + 1) * rows), interpolation=cv2.INTER_LINEAR)
        top, left = rng.integers(0, rows), rng.integers(0, columns)
        mask[:] = large[top : top + height, left : left + width]
    return masks
