"""SSD's random crops."""

import numpy as np

from visiontasks.arguments import Chance, Count, pair
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import choose, place
from visiontasks.geometry import Position
from visiontasks.ops import numpy_boxes

OVERLAPS = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)  # None: the whole image; 0: any patch


class SSDCrop(Augmentation):
    """The whole image, a patch with an IoU of at least .1, .3, .5, .7 or .9 with some object, or any patch.

    Liu et al. 2016, https://arxiv.org/abs/1512.02325, section 2.2. An object whose center lies in the patch stays, cut
    to the patch; at least one does. An image without objects stays whole.

    Args:
        scale: [least, most] of the patch's width and height, as shares of the image's. (The paper's 0.1 is an area.)
        aspect: [least, most] of the patch's width / height in pixels.
        tries: patches drawn for an overlap before another overlap is chosen.
        p: the share of images.
    """

    lays_out = True

    def __init__(
        self,
        scale: pair(0.01, 1) = (0.3, 1.0),
        aspect: pair(0.01, 100) = (0.5, 2.0),
        tries: Count = 50,
        p: Chance = 1.0,
    ):
        self.scale, self.aspect, self.tries, self.p = scale, aspect, tries, p

    def __call__(self, sample, rng, stage):
        objects = [_objects(one) for one in (sample, *sample.sets.values()) if one.boxes is not None]
        if not sum(map(len, objects)):
            return sample
        objects = np.concatenate(objects)
        size = sample.image.shape[:2]
        for number in rng.permutation(len(OVERLAPS)):
            if OVERLAPS[number] is None:
                return sample
            patch = self._patch(size, objects, rng, OVERLAPS[number])
            if patch is not None:
                break
        left, top, right, bottom = patch
        return place(
            sample.each(lambda one: _kept(one, patch)),
            Position(size, (bottom - top, right - left), size, (-top, -left)),
        )

    def _patch(self, size, objects, rng, least):
        """A patch x1, y1, x2, y2 in whole pixels, or None if no try succeeded; `objects` are boxes (N, 4)."""
        height, width = size
        # all tries at once: for a large overlap most images need many
        shares = rng.uniform(*self.scale, size=(self.tries, 2))
        lengths = np.maximum(1, np.round(shares * (width, height)))
        corners = np.floor(rng.random((self.tries, 2)) * ((width, height) - lengths + 1))
        ratio = lengths[:, 0] / lengths[:, 1]
        patches = np.concatenate([corners, corners + lengths], axis=1)[
            (ratio >= self.aspect[0]) & (ratio <= self.aspect[1])
        ]
        if not len(patches):
            return None
        inside = [_centers_inside(objects, patch) for patch in patches]
        inside = np.array(inside).reshape(len(patches), len(objects))
        overlaps = np.where(inside, numpy_boxes.iou(patches, objects), -1).max(axis=1)
        good = np.flatnonzero(overlaps >= least)
        return patches[good[0]].astype(int).tolist() if len(good) else None


def _kept(sample, patch):
    """The Sample with the objects whose centers lie in the patch, and all ignored regions."""
    if sample.boxes is None:
        return sample
    kept = _centers_inside(sample.boxes, patch)
    return choose(sample, kept if sample.ignored is None else kept | sample.ignored)


def _objects(sample):
    """The boxes (N, 4) of what is no ignored region."""
    return sample.boxes if sample.ignored is None else sample.boxes[~sample.ignored]


def _centers_inside(boxes, patch):
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centers >= patch[:2]) & (centers < patch[2:])).all(axis=1)
