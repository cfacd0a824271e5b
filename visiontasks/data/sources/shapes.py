"""Drawn scenes with every kind of label, for recipes and tests that need no download."""

from typing import Literal

import cv2
import numpy as np

from visiontasks.arguments import Drawn, DrawnSize, Seed, pair
from visiontasks.data import figures, scenes
from visiontasks.data.sources.source import Source
from visiontasks.sample import Sample

# by scene: what draws it, its classes, its keypoints
_SCENES = {
    "shapes": (scenes.draw_scene, scenes.CLASSES, scenes.SKELETON),
    "figures": (figures.draw_figures, figures.CLASSES, figures.SKELETON),
}


class Shapes(Source):
    """Drawn scenes of textured shapes or human figures, seeded, with every kind of label; needs no download.

    Objects overlap on a textured background under uneven light, with noise and blur: circle, square, triangle, star,
    cross and ring, or human figures of one class, person. Sample i is a function of (seed, i, size, objects, scene).
    Fields: `label` (the class of the largest visible object), `tags`, `boxes`, `classes`, `mask` (0 background, then
    the classes), `instance_masks` and `keypoints`: center, top, right, bottom, left of each shape, on its axes, or a
    figure's nose, shoulders, elbows, wrists, hips, knees, ankles (COCO's names), visibility 1 where another object or,
    seen from behind, the head covers them. Masks and boxes cover the visible region.

    Args:
        count: number of samples.
        seed: of the scenes; not negative.
        size: height and width in pixels, from 32 to 16384.
        objects: [least, most] objects per scene; a scene may have fewer if they do not fit.
        scene: what is drawn: shapes, or figures, from the front and from behind.
    """

    fields = frozenset({"label", "tags", "boxes", "classes", "mask", "instance_masks", "keypoints"})

    def __init__(
        self,
        count: Drawn = 512,
        seed: Seed = 0,
        size: DrawnSize = (256, 256),
        objects: pair(1, 1000, int) = (2, 6),
        scene: Literal["shapes", "figures"] = "shapes",
    ):
        super().__init__()
        self.count, self.seed, self.size, self.objects, self.scene = count, seed, size, objects, scene
        self._draw, classes, points = _SCENES[scene]
        self.names = {
            "label": classes,
            "tags": classes,
            "classes": classes,
            "mask": ("background", *classes),
            "keypoints": points,
        }

    def __len__(self):
        return self.count

    def describe(self, index):
        return f"{self.scene}/{self.seed}/{index}"

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(f"expected an index from 0 to {self.count - 1}, got {index}.")
        scene = self._draw(np.random.default_rng([self.seed, index]), self.size, self.objects)
        masks = (scene.owner == np.arange(len(scene.classes))[:, None, None]).astype(np.uint8)
        areas = [cv2.countNonZero(mask) for mask in masks]
        boxes = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, masks)]
        tags = np.zeros(len(self.names["tags"]), np.float32)
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
