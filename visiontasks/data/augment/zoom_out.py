"""SSD's zoom-out."""

from visiontasks.arguments import Chance, pair
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import place
from visiontasks.geometry import Position

FINEST = 3  # a following SSDCrop may take a third of the width and height, which then has the canvas's resolution


class ZoomOut(Augmentation):
    """The image at a random position on a gray canvas up to 4 times as wide and high, which makes objects small.

    Liu et al. 2016, https://arxiv.org/abs/1512.02325, section 3.6. Put it before SSDCrop in the list. An image that
    would become larger than three times the network's canvas is reduced to that.

    Args:
        scale: [least, most] of the gray canvas's width and height, relative to the image's.
        p: the share of images.
    """

    lays_out = True

    def __init__(self, scale: pair(1, 100) = (1.0, 4.0), p: Chance = 0.5):
        self.scale, self.p = scale, p

    def __call__(self, sample, rng, stage):
        factor, size = rng.uniform(*self.scale), sample.image.shape[:2]
        finest = min(1.0, *(FINEST * limit / (factor * old) for limit, old in zip(stage.size, size, strict=True)))
        resized = tuple(max(1, round(finest * old)) for old in size)
        canvas = tuple(max(new, round(factor * new)) for new in resized)
        offset = tuple(int(rng.integers(whole - new + 1)) for whole, new in zip(canvas, resized, strict=True))
        return place(sample, Position(size, canvas, resized, offset))
