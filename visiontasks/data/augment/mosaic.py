"""Mosaic: four pictures around a point."""

import dataclasses

import numpy as np

from visiontasks.arguments import Chance, Share, Whole, pair
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import joined, place
from visiontasks.geometry import Placement, Position


class Mosaic(Augmentation):
    """Four pictures around a random point of the canvas, each at a scale of its own.

    Bochkovskiy et al. 2020, https://arxiv.org/abs/2004.10934, section 3.3. A picture keeps its aspect ratio; where it
    is larger than its quarter a random part of it shows, where it is smaller it lies at the point.

    Args:
        centre: where the point lies, as shares of the canvas's sides: [least, most].
        scale: of a picture; at 1 it would fill the canvas alone.
        visible: an object of which less than this share is left in sight is dropped.
        epochs: in how many first epochs there are mosaics, so that training ends on whole pictures; by default in all.
        p: the share of pictures.
    """

    lays_out = True

    def __init__(
        self,
        centre: pair(0.1, 0.9) = (0.25, 0.75),
        scale: pair(0.05, 10) = (0.5, 1.5),
        visible: Share = 0.1,
        epochs: Whole | None = None,
        p: Chance = 1.0,
    ):
        self.centre, self.scale, self.visible, self.epochs, self.p = centre, scale, visible, epochs, p

    def __call__(self, sample, rng, stage):
        height, width = stage.size
        y, x = (min(max(1, round(side * rng.uniform(*self.centre))), side - 1) for side in (height, width))
        # the first picture is in no corner more often than the others
        pictures = [sample, *(stage.another() for _ in range(3))]
        order = rng.permutation(4)
        quarters = [(0, 0, y, x), (0, x, y, width), (y, 0, height, x), (y, x, height, width)]
        parts = []
        for number, (top, left, bottom, right) in zip(order, quarters, strict=True):
            picture, size = pictures[number], (bottom - top, right - left)
            factor = rng.uniform(*self.scale)
            fitted = Placement(picture.image.shape[:2], stage.size, "letterbox").resized
            resized = tuple(max(1, round(factor * side)) for side in fitted)
            offset = (
                _offset(size[0] - resized[0], bottom == y, rng),
                _offset(size[1] - resized[1], right == x, rng),
            )
            part = place(picture, Position(picture.image.shape[:2], size, resized, offset), self.visible)
            parts.append(place(part, Position(size, stage.size, size, (top, left))))
        return dataclasses.replace(sample, **_pieced(parts, quarters), **joined(parts))


def _offset(room, ends_at_the_point, rng) -> int:
    """Where a picture begins along one side of its quarter, that leaves so much room."""
    if room < 0:
        return int(rng.integers(room, 1))
    return room if ends_at_the_point else 0


def _pieced(parts, quarters) -> dict:
    """The picture and the mask of four parts, each of which fills its own quarter of the canvas."""
    pieced = {}
    for name in ("image", "mask"):
        values = [getattr(part, name) for part in parts]
        if any(value is None for value in values):
            pieced[name] = None
            continue
        pieced[name] = np.empty_like(values[0])
        for value, (top, left, bottom, right) in zip(values, quarters, strict=True):
            pieced[name][top:bottom, left:right] = value[top:bottom, left:right]
    return pieced
