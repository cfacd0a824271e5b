"""Draws scenes of articulated human figures, seen from the front or from behind; a function of a random generator."""

import cv2
import numpy as np

from visiontasks.data.bodies import Body, capsules
from visiontasks.data.scenes import Drawn, Scene, compose
from visiontasks.data.textures import BITS, clouds, contrasting, fixed_point, pattern
from visiontasks.skeleton import COCO_PERSON, Skeleton

CLASSES = ("person",)
POINTS = (COCO_PERSON[0], *COCO_PERSON[5:])  # the nose, and all below the head
LIMBS = (
    ("nose", "left_shoulder"),
    ("nose", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_elbow", "right_wrist"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_hip", "left_knee"),
    ("right_hip", "right_knee"),
    ("left_knee", "left_ankle"),
    ("right_knee", "right_ankle"),
)
SKELETON = Skeleton(POINTS, LIMBS)
HEIGHTS = (0.35, 0.9)  # of a figure that stands upright, in shorter sides of the image
BEHIND = 0.2  # the share of figures that turn their backs to the viewer


def draw_figures(rng: np.random.Generator, size: tuple[int, int], objects: tuple[int, int]) -> Scene:
    """A scene of `size` (height, width) pixels with `objects` (least, most) human figures; fewer if they do not fit.

    The class is CLASSES' only one and the keypoints are POINTS. A figure faces the viewer, its left on the image's
    right, or turns its back, its left on the image's left and its nose hidden by itself. A joint that another part of
    the same figure covers counts as visible.
    """
    return compose(rng, size, objects, _Figure)


class _Figure(Drawn):
    def __init__(self, rng, size):
        body, height = Body(rng, behind=rng.uniform() < BEHIND), min(size) * rng.uniform(*HEIGHTS)
        self.parts = body.parts(rng, height)
        outlines, joints = _xy(capsules(self.parts) * body.lean * height), _xy(_joints(body) * body.lean * height)
        x, y, *box = cv2.boundingRect(outlines.reshape(-1, 2).astype(np.float32))
        corner, box, extent = np.array([x, y]), np.array(box), np.array(size[::-1])
        # at most 15 % of the figure's box lie outside of the image on a side
        center = extent / 2 + np.maximum(extent / 2 - 0.35 * box, 0) * rng.uniform(-1, 1, size=2)
        offset = center - box / 2 - corner
        first, last = np.floor(corner + offset).astype(int) - 2, np.ceil(corner + box + offset).astype(int) + 2
        low, high = np.maximum(first, 0), np.minimum(last, extent)
        alpha = np.zeros((last - first)[::-1], np.uint8)  # also of what is outside of the image
        for part, outline in zip(self.parts, fixed_point(outlines + offset, first), strict=True):
            if not part.inside:
                cv2.fillConvexPoly(alpha, outline, 255, cv2.LINE_AA, BITS)
        self.outlines = fixed_point(outlines + offset, low)
        super().__init__(
            number=0,
            points=joints + offset,
            low=low,
            alpha=alpha[low[1] - first[1] : high[1] - first[1], low[0] - first[0] : high[0] - first[0]],
            area=np.count_nonzero(alpha > 127),
            turned_away=[body.behind and name == "nose" for name in POINTS],
        )

    def paint(self, rng, image):
        window = image[self.window]
        colors = _colors(rng, np.array(cv2.mean(window, self.covers.view(np.uint8))[:3]))
        inks = np.array([colors[part.material] for part in self.parts])
        inks[:, :3] *= np.array([part.tone for part in self.parts])[:, None]
        layer = cv2.cvtColor(window, cv2.COLOR_RGB2RGBA)
        layer[..., 3] = 0  # how much of the texture shows
        for outline, ink in zip(self.outlines, np.minimum(inks, 255).tolist(), strict=True):
            cv2.fillConvexPoly(layer, outline, ink, cv2.LINE_AA, BITS)
        *channels, shows = cv2.split(layer)
        texture = 14 * clouds(rng, shows.shape, 5) + pattern(rng, shows.shape, rng.uniform(0, 30))
        texture = cv2.multiply(texture, shows, scale=1 / 255, dtype=cv2.CV_32F)
        window[...] = cv2.merge([cv2.add(channel, texture, dtype=cv2.CV_8U) for channel in channels])


def _joints(body):
    pairs = (body.shoulders, body.elbows, body.wrists, body.hips, body.knees, body.ankles)
    return np.concatenate([[body.nose], *pairs])


def _colors(rng, below):
    """RGB 0..255 of each material, and how much of a texture it shows."""
    (shirt, trousers), shares = rng.uniform(15, 240, size=(2, 3)), rng.uniform(size=3)
    shirt = contrasting(shirt, below)
    skins, bright = np.array([[62, 40, 30], [245, 208, 182]]), below.mean()
    skin = _mixed(*skins, shares[0])
    if abs(skin.mean() - bright) < 50:
        skin = skins[0 if bright > 127 else 1]
    return {
        "skin": (*skin, 80),
        "shirt": (*shirt, 255),
        "trousers": (*contrasting(contrasting(trousers, below), shirt), 255),
        "hair": (*_mixed((22, 18, 16), (205, 165, 100), shares[1] ** 2), 120),
        "shoes": (*_mixed((15, 12, 10), (220, 215, 210), shares[2]), 80),
        "eye": (240, 240, 240, 80),
        "pupil": (20, 20, 25, 80),
        "lips": (150, 50, 55, 80),
    }


def _mixed(dark, light, share):
    return np.array(dark) * (1 - share) + np.array(light) * share


def _xy(points):
    """float (..., 2) of complex points."""
    return np.stack([points.real, points.imag], axis=-1)
