"""Mixup of two pictures with objects."""

import dataclasses

import cv2

from visiontasks.arguments import Chance, Share, Whole, between
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import joined


class MixUp(Augmentation):
    """Two pictures shining through each other, with the objects of both.

    Zhang et al. 2019 (https://arxiv.org/abs/1902.04103, section 3.1), for detection: shapes are kept, and weights come
    from a Beta distribution. The picture itself has at least half of the weight (the other one is drawn at random, so
    this changes nothing for objects), and its mask stays; a label and tags stay where both agree.

    Args:
        alpha: both parameters of the Beta distribution; large: always near half and half.
        visible: where the other picture has less than this weight, nobody could see its objects: they are left out.
        epochs: in how many first epochs pictures are mixed; by default in all.
        p: the share of pictures.
    """

    def __init__(
        self, alpha: between(1e-3, 1e6) = 1.5, visible: Share = 0.1, epochs: Whole | None = None, p: Chance = 0.5
    ):
        self.alpha, self.visible, self.epochs, self.p = alpha, visible, epochs, p

    def __call__(self, sample, rng, stage):
        weight = rng.beta(self.alpha, self.alpha)
        weight = max(weight, 1 - weight)
        sample, other = stage.place(sample), stage.place(stage.another())
        if (sample.boxes is None) != (other.boxes is None):
            return sample  # one picture's objects would pass for background, or the other's labels be lost
        image = cv2.addWeighted(sample.image, weight, other.image, 1 - weight, 0)
        if 1 - weight < self.visible:
            return dataclasses.replace(sample, image=image, areas=None)
        return dataclasses.replace(sample, image=image, **joined([sample, other]))
