"""SSD's zoom-out."""

from visiontasks.arguments import Chance, pair
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import place
from visiontasks.geometry import Position

FINEST = 3  # an SSDCrop behind it may take a third of each side, which is then as fine as the canvas


class ZoomOut(Augmentation):
    """The picture somewhere on a grey ground of up to 4 times its sides, so that there are small objects.

    Liu et al. 2016, https://arxiv.org/abs/1512.02325, section 3.6. It stands before SSDCrop in the list. A picture that
    would become more than three times the canvas is reduced to that.

    Args:
        scale: sides of the ground in sides of the picture: [least, most].
        p: the share of pictures.
    """

    lays_out = True

    def __init__(self, scale: pair(1, 100) = (1.0, 4.0), p: Chance = 0.5):
        self.scale, self.p = scale, p

    def __call__(self, sample, rng, stage):
        factor, size = rng.uniform(*self.scale), sample.image.shape[:2]
        finest = min(1.0, *(FINEST * limit / (factor * side) for limit, side in zip(stage.size, size, strict=True)))
        resized = tuple(max(1, round(finest * side)) for side in size)
        ground = tuple(max(small, round(factor * small)) for small in resized)
        offset = tuple(int(rng.integers(whole - part + 1)) for whole, part in zip(ground, resized, strict=True))
        return place(sample, Position(size, ground, resized, offset))
