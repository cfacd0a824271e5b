"""One object fills the canvas, at a random scale and angle."""

import dataclasses

import numpy as np

from visiontasks.arguments import Chance, NonNegative, Share
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import cut, placement_of
from visiontasks.geometry import warped, warped_mask
from visiontasks.sample import Sample

MOST = 2.0  # standard deviations: more is cut off


class ObjectCrop(Augmentation):
    """Crops the sample's object, with what is around it, to the canvas: for `resize: object`, as the first transform.

    Xiao et al. 2018, https://arxiv.org/abs/1804.06208, section 4.1: a normal distribution of scales and of angles. The
    image is read once, so that nothing is interpolated twice and no corner is empty that the image could fill.

    Args:
        scale: standard deviation of the object's scale, as a share; at most twice that.
        rotate: standard deviation of the angle in degrees; at most twice that.
        rotate_p: the share of images that are rotated.
        shift: standard deviation of the object's position, as a share of the canvas; at most twice that.
        p: the share of images that are changed; the others are cropped without.
    """

    lays_out = True

    def __init__(
        self,
        scale: Share = 0.15,
        rotate: NonNegative = 20.0,
        rotate_p: Chance = 0.6,
        shift: Share = 0.0,
        p: Chance = 1.0,
    ):
        self.scale, self.rotate, self.rotate_p, self.shift, self.p = scale, rotate, rotate_p, shift, p

    def applies(self, rng, epoch):
        return True  # the object is cropped in any case

    def __call__(self, sample, rng, stage):
        matrix, (height, width) = placement_of(sample, stage.size, "object").matrix, stage.size
        if rng.random() < self.p:
            scale, angle, x, y = np.clip(rng.normal(size=4), -MOST, MOST)
            angle = np.radians(self.rotate * angle) * (rng.random() < self.rotate_p)
            turn = (1 + self.scale * scale) * np.array(
                [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            )
            center = np.array([width, height]) / 2
            moved = center + self.shift * np.array([x * width, y * height]) - turn @ center
            matrix = np.column_stack([turn, moved]) @ np.vstack([matrix, [0, 0, 1]])
        image = warped(sample.image, matrix, stage.size)
        return sample.each(lambda one: _moved(one, image, matrix))


def _moved(sample: Sample, image, matrix) -> Sample:
    changes, size = {"image": image}, image.shape[:2]
    if sample.mask is not None:
        changes["mask"] = warped_mask(sample.mask, matrix, size)
    if sample.instance_masks is not None:
        changes["instance_masks"] = sample.instance_masks.moved(matrix, size)
    if sample.keypoints is not None:
        points = sample.keypoints.copy()
        points[..., :2] = points[..., :2] @ matrix[:, :2].T + matrix[:, 2]
        changes["keypoints"] = points
    if sample.boxes is not None:
        x1, y1, x2, y2 = sample.boxes.T
        corners = np.stack([[x1, y1], [x2, y1], [x1, y2], [x2, y2]]).transpose(2, 0, 1)
        corners = corners @ matrix[:, :2].T + matrix[:, 2]
        changes["boxes"] = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
    return cut(dataclasses.replace(sample, areas=None), changes)
