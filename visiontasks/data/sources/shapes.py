"""Drawn scenes with every kind of label, for recipes and tests that need no download."""

from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from visiontasks.arguments import Count, Whole, between, pair
from visiontasks.data.scenes import CLASSES, POINTS, draw_scene
from visiontasks.data.sources.source import Source
from visiontasks.sample import Sample

_Size = Annotated[
    tuple[between(32, kind=int), between(32, kind=int)], Field(description="[height, width] of at least 32 pixels")
]


class Shapes(Source):
    """Drawn scenes of textured shapes, seeded, with every kind of label; needs no download.

    Circle, square, triangle, star, cross and ring overlap on a textured background under uneven light, with noise and
    blur. Sample i is a function of (seed, i, size, objects). Fields: `label` (the class of the largest visible object),
    `tags`, `boxes`, `classes`, `mask` (0 background, then the classes), `instance_masks` and `keypoints` (center, top,
    right, bottom, left of each object, on the object's axes). Masks and boxes cover the visible region.

    Args:
        count: number of samples.
        seed: of the scenes; not negative.
        size: height and width in pixels, at least 32.
        objects: [least, most] objects per scene; a scene may have fewer if they do not fit.
    """

    fields = frozenset({"label", "tags", "boxes", "classes", "mask", "instance_masks", "keypoints"})

    def __init__(
        self, count: Count = 512, seed: Whole = 0, size: _Size = (256, 256), objects: pair(1, kind=int) = (2, 6)
    ):
        super().__init__()
        self.count, self.seed, self.size, self.objects = count, seed, size, objects
        self.names = {
            "label": CLASSES,
            "tags": CLASSES,
            "classes": CLASSES,
            "mask": ("background", *CLASSES),
            "keypoints": POINTS,
        }

    def __len__(self):
        return self.count

    def describe(self, index):
        return f"shapes/{self.seed}/{index}"

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(f"expected an index from 0 to {self.count - 1}, got {index}.")
        scene = draw_scene(np.random.default_rng([self.seed, index]), self.size, self.objects)
        masks = (scene.owner == np.arange(len(scene.classes))[:, None, None]).astype(np.uint8)
        areas = [cv2.countNonZero(mask) for mask in masks]
        boxes = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, masks)]
        tags = np.zeros(len(CLASSES), np.float32)
        tags[scene.classes] = 1
        return Sample(
            scene.image,
            label=scene.classes[np.argmax(areas)],
            tags=tags,
            boxes=np.array(boxes, np.float32),
            classes=scene.classes,
            mask=np.append(scene.classes + 1, 0).take(scene.owner, mode="wrap"),  # -1, the background, takes the last 0
            instance_masks=masks,
            keypoints=scene.keypoints,
            id=self.describe(index),
        )
