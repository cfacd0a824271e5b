"""Mixup of two images with objects."""

import dataclasses

import cv2

from visiontasks.arguments import Chance, Share, Whole, between
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import alike, joined


class MixUp(Augmentation):
    """Blends two images and keeps the objects of both.

    Zhang et al. 2019 (https://arxiv.org/abs/1902.04103, section 3.1), for detection: image sizes are kept, and weights
    come from a Beta distribution. The first image has at least half of the weight (the second is random, so this
    changes nothing for objects), and its mask stays. A label or tag stays where both images agree.

    Args:
        alpha: both parameters of the Beta distribution; large values give weights near one half.
        visible: objects of the second image are left out if its weight is below this, because nobody could see them.
        epochs: the number of first epochs in which images are mixed; by default all.
        p: the share of images.
    """

    joins = 2

    def __init__(
        self, alpha: between(1e-3, 1e6) = 1.5, visible: Share = 0.1, epochs: Whole | None = None, p: Chance = 0.5
    ):
        self.alpha, self.visible, self.epochs, self.p = alpha, visible, epochs, p

    def __call__(self, sample, rng, stage):
        weight = rng.beta(self.alpha, self.alpha)
        weight = max(weight, 1 - weight)
        sample, other = stage.place(sample), stage.place(stage.another())
        if not alike(sample, other, "boxes"):
            return sample  # one image's objects would count as background, or the other's labels be lost
        image = cv2.addWeighted(sample.image, weight, other.image, 1 - weight, 0)
        if 1 - weight < self.visible:
            return dataclasses.replace(sample, image=image, areas=None)
        return dataclasses.replace(sample, image=image, **joined([sample, other], lambda mask, _: mask))
