"""Scale jitter: random scale on a canvas of fixed size."""

from visiontasks.arguments import Chance, Share, pair
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import place
from visiontasks.geometry import Placement, Position


class ScaleJitter(Augmentation):
    """Scales the image, then crops or pads it to the canvas at a random position.

    Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177, section 3: large scale jittering. Standard scale jittering has
    scale [0.8, 1.25]. The aspect ratio is kept.

    Args:
        scale: [least, most]; at 1 the image just fits on the canvas.
        visible: an object of which less than this share stays visible is dropped.
        p: the share of images.
    """

    lays_out = True

    def __init__(self, scale: pair(0.01, 100) = (0.1, 2.0), visible: Share = 0.1, p: Chance = 1.0):
        self.scale, self.visible, self.p = scale, visible, p

    def __call__(self, sample, rng, stage):
        size, factor = sample.image.shape[:2], rng.uniform(*self.scale)
        fitted = Placement(size, stage.size, "letterbox").resized
        resized = tuple(max(1, round(factor * length)) for length in fitted)
        rooms = [canvas - length for canvas, length in zip(stage.size, resized, strict=True)]
        offset = tuple(int(rng.integers(min(0, room), max(0, room) + 1)) for room in rooms)
        return place(sample, Position(size, stage.size, resized, offset), self.visible)
