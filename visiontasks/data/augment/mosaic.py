"""Mosaic: four images around a point."""

import dataclasses
import functools

import numpy as np

from visiontasks.arguments import Chance, Share, Whole, pair
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import joined, place
from visiontasks.geometry import Placement, Position


class Mosaic(Augmentation):
    """Four images around a random point of the canvas, each at its own scale.

    Bochkovskiy et al. 2020, https://arxiv.org/abs/2004.10934, section 3.3. Images keep their aspect ratio. Of one
    that is larger than its quarter, a random region shows; a smaller one touches the point.

    Args:
        center: the point, as shares of the canvas's height and width: [least, most].
        scale: of an image; at 1 it would fill the canvas alone.
        visible: an object of which less than this share stays visible is dropped.
        epochs: the number of first epochs with mosaics, so that training ends on whole images; by default all.
        p: the share of images.
    """

    lays_out = True
    joins = 4

    def __init__(
        self,
        center: pair(0.1, 0.9) = (0.25, 0.75),
        scale: pair(0.05, 10) = (0.5, 1.5),
        visible: Share = 0.1,
        epochs: Whole | None = None,
        p: Chance = 1.0,
    ):
        self.center, self.scale, self.visible, self.epochs, self.p = center, scale, visible, epochs, p

    def __call__(self, sample, rng, stage):
        height, width = stage.size
        y, x = (min(max(1, round(length * rng.uniform(*self.center))), length - 1) for length in (height, width))
        # shuffled, so that the first image is in every corner equally often
        samples = [sample, *(stage.another() for _ in range(3))]
        order = rng.permutation(4)
        quarters = [(0, 0, y, x), (0, x, y, width), (y, 0, height, x), (y, x, height, width)]
        tiles = []
        for number, (top, left, bottom, right) in zip(order, quarters, strict=True):
            one, size = samples[number], (bottom - top, right - left)
            factor = rng.uniform(*self.scale)
            fitted = Placement(one.image.shape[:2], stage.size, "letterbox").resized
            resized = tuple(max(1, round(factor * length)) for length in fitted)
            offset = (
                _offset(size[0] - resized[0], bottom == y, rng),
                _offset(size[1] - resized[1], right == x, rng),
            )
            tile = place(one, Position(one.image.shape[:2], size, resized, offset), self.visible)
            tiles.append(place(tile, Position(size, stage.size, size, (top, left))))
        image = _stitch(quarters, *(tile.image for tile in tiles))
        return dataclasses.replace(sample, image=image, **joined(tiles, functools.partial(_stitch, quarters)))


def _offset(room, ends_at_the_point, rng) -> int:
    """The offset of an image along one axis of its quarter, where `room` pixels are left over."""
    if room < 0:
        return int(rng.integers(room, 1))
    return room if ends_at_the_point else 0


def _stitch(quarters, *tiles) -> np.ndarray | None:
    """The image or mask of four on the canvas, each cut to its quarter; None if one of them is None."""
    if any(tile is None for tile in tiles):
        return None
    stitched = np.empty_like(tiles[0])
    for tile, (top, left, bottom, right) in zip(tiles, quarters, strict=True):
        stitched[top:bottom, left:right] = tile[top:bottom, left:right]
    return stitched
