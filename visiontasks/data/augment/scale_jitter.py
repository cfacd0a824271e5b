"""Scale jitter: large or small on a canvas of one size."""

from visiontasks.arguments import Chance, Share, pair
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import place
from visiontasks.geometry import Placement, Position


class ScaleJitter(Augmentation):
    """The picture scaled, then cut or padded to the canvas at a random place.

    Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177, section 3: large scale jittering; their standard one has
    scale [0.8, 1.25]. The aspect ratio is kept.

    Args:
        scale: at 1 the picture just fits on the canvas: [least, most].
        visible: an object of which less than this share is left in sight is dropped.
        p: the share of pictures.
    """

    lays_out = True

    def __init__(self, scale: pair(0.01, 100) = (0.1, 2.0), visible: Share = 0.1, p: Chance = 1.0):
        self.scale, self.visible, self.p = scale, visible, p

    def __call__(self, sample, rng, stage):
        size, factor = sample.image.shape[:2], rng.uniform(*self.scale)
        fitted = Placement(size, stage.size, "letterbox").resized
        resized = tuple(max(1, round(factor * side)) for side in fitted)
        rooms = [canvas - side for canvas, side in zip(stage.size, resized, strict=True)]
        offset = tuple(int(rng.integers(min(0, room), max(0, room) + 1)) for room in rooms)
        return place(sample, Position(size, stage.size, resized, offset), self.visible)
