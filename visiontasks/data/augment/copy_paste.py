"""Copy-paste: objects of one image pasted into another."""

import dataclasses

import cv2
import numpy as np

from visiontasks.arguments import Chance, Share, between
from visiontasks.data.augment.augmentation import Augmentation
from visiontasks.data.placing import THINNEST, alike, choose, joined, tight
from visiontasks.mask_shapes import Patch
from visiontasks.sample import VOID


class CopyPaste(Augmentation):
    """Pastes random objects of another image onto this one at their original positions, by their masks.

    Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177, section 3. Masks and boxes of partly hidden objects are cut;
    hidden objects are dropped. If either image has no instance masks, whole boxes are pasted, with everything inside
    them. (The paper first jitters the scale of both images: put ScaleJitter and HorizontalFlip before it in the list.)

    Args:
        visible: an object of which less than this share stays visible is dropped.
        blend: standard deviation in pixels of the Gaussian that softens the pasted edges; 0: none.
        p: the share of images.
    """

    fields = ("instance_masks",)
    joins = 2

    def __init__(self, visible: Share = 0.1, blend: between(0, 100) = 1.0, p: Chance = 0.5):
        self.visible, self.blend, self.p = visible, blend, p

    def __call__(self, sample, rng, stage):
        sample, other = stage.place(sample), stage.place(stage.another())
        if not alike(sample, other, "boxes"):
            return sample
        if not alike(sample, other, "instance_masks"):  # one image has masks and the other has none: use neither's
            sample, other = (
                image.each(lambda one: dataclasses.replace(one, instance_masks=None)) for image in (sample, other)
            )
        pasted = np.any([_drawn(one, rng) for one in (other.of(""), *other.sets.values())], axis=0)
        if not pasted.any():
            return sample
        left = sample.each(lambda one: _hidden(self._visible(one, ~pasted), pasted))
        added = other.each(lambda one: self._visible(one, pasted))

        def mask(of_sample, of_other):
            return None if of_sample is None else np.where(pasted, VOID if of_other is None else of_other, of_sample)

        changes = joined([left, added], mask)
        alpha = pasted.astype(np.float32)
        if self.blend:
            alpha = cv2.GaussianBlur(alpha, (0, 0), self.blend)
        image = cv2.blendLinear(other.image, sample.image, alpha, 1 - alpha)
        return dataclasses.replace(sample, image=image, **changes)

    def _visible(self, sample, where):
        """The Sample's objects, cut to the region `where`, bool (H, W); those too small are dropped."""
        if sample.boxes is None:
            return sample
        regions = _regions(sample)
        seen = [dataclasses.replace(one, pixels=one.pixels & where[_window(one)]) for one in regions]
        before, after = (np.array([one.pixels.sum() for one in patches], int) for patches in (regions, seen))
        boxes = sample.boxes.copy()
        for number in np.flatnonzero((after < before) & (after > 0)):
            boxes[number] = tight(boxes[number], np.float32(seen[number].tight().extent))
        changes = {"boxes": boxes}
        if sample.instance_masks is not None:
            changes["instance_masks"] = sample.instance_masks.within(where)
        keep = (after > 0) & (after >= self.visible * before)
        if sample.ignored is not None:  # what is left of an ignored region is no background
            keep |= sample.ignored & (after > 0)
        keep &= ((boxes[:, 2:] - boxes[:, :2]) >= THINNEST).all(axis=1)
        # choose before the Sample is validated: a hidden object's box may be empty
        objects = choose(sample, keep)
        return dataclasses.replace(objects, **{name: value[keep] for name, value in changes.items()})


def _drawn(sample, rng) -> np.ndarray:
    """bool (H, W): where randomly chosen objects of one label set are. An ignored region is no object to paste."""
    drawn, count = np.zeros(sample.image.shape[:2], bool), 0 if sample.boxes is None else len(sample.boxes)
    objects = np.flatnonzero(np.ones(count, bool) if sample.ignored is None or not count else ~sample.ignored)
    if len(objects):
        objects = objects[rng.permutation(len(objects))[: rng.integers(1, len(objects) + 1)]]
        regions = _regions(sample)
        for number in objects:
            drawn[_window(regions[number])] |= regions[number].pixels > 0
    return drawn


def _hidden(sample, pasted):
    """The Sample, whose keypoints in the region `pasted` are hidden."""
    points = sample.keypoints
    if points is None or not points.size:
        return sample
    points = points.copy()
    rows, columns = (
        np.minimum(points[..., axis].astype(int), length - 1)
        for axis, length in ((1, len(pasted)), (0, len(pasted[0])))
    )
    points[..., 2] = np.where(pasted[rows, columns], np.minimum(points[..., 2], 1), points[..., 2])
    return dataclasses.replace(sample, keypoints=points)


def _regions(sample) -> list[Patch]:
    """Each object's mask; without one, every pixel that its box touches."""
    masks, (height, width) = sample.instance_masks, sample.image.shape[:2]
    # after a flip a coordinate of 36 can be 35.999998
    low, high = np.floor(sample.boxes[:, :2] + 1e-3).astype(int), np.ceil(sample.boxes[:, 2:] - 1e-3).astype(int)
    low, high = np.clip(low, 0, (width, height)), np.clip(high, 0, (width, height))

    def region(number):
        if masks is not None and masks.shapes[number] is not None:
            return masks.patch(number)
        (left, top), (columns, rows) = low[number].tolist(), np.maximum(high[number] - low[number], 0)
        return Patch(left, top, np.ones((rows, columns), np.uint8))

    return list(map(region, range(len(sample.boxes))))


def _window(patch) -> tuple[slice, slice]:
    """Where it lies in its image."""
    left, top, right, bottom = patch.extent
    return np.s_[top:bottom, left:right]
