"""Draws scenes of objects with texture, overlap and uneven light, and the simple shapes among such objects."""

import abc
import colorsys
import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from visiontasks.data.textures import BITS, background, clouds, contrasting, fixed_point, pattern, photograph, to_bytes
from visiontasks.skeleton import Skeleton

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")
POINTS = ("center", "top", "right", "bottom", "left")  # on the object's axes, which rotate with it
SKELETON = Skeleton(POINTS, [("center", tip) for tip in POINTS[1:]], sigmas=[0.05] * len(POINTS))
SHOWN = 0.5  # the smallest visible share of an object; with less nobody could name it
HUE_SPREAD = 16.0  # degrees; classes are 60 apart, so the color of one object in sixteen suggests another class
_AXES = np.array([[0, 0], [0, -1], [1, 0], [0, 1], [-1, 0]], np.float64)
_RAMP = np.linspace(0, 1, 256)[:, None]


def _corners(count, start=-90.0, radius=1.0):
    angles = np.radians(start + 360 / count * np.arange(count))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.broadcast_to(radius, count)[:, None]


def _cross(arm=0.36):
    corner = np.array([[arm, -1], [1, -arm], [1, arm], [arm, 1], [-arm, 1], [-1, arm], [-1, -arm], [-arm, -1]])
    notch = np.array([[arm, -arm], [arm, arm], [-arm, arm], [-arm, -arm]])
    return np.concatenate([[corner[2 * k], notch[k], corner[2 * k + 1]] for k in range(4)])


# outlines in units of the radius, y down; a second contour is a hole
_OUTLINES = {
    "circle": [_corners(40)],
    "square": [_corners(4, start=-45) * 1.15],
    "triangle": [_corners(3) * 1.15],
    "star": [_corners(10, radius=np.tile([1.15, 0.5], 5))],
    "cross": [_cross()],
    "ring": [_corners(40), _corners(40, radius=0.55)],
}
# the distance from the center to the outer contour along each axis
_TIPS = {
    "circle": [0, 1, 1, 1, 1],
    "square": [0, *[1.15 * np.sqrt(0.5)] * 4],
    "triangle": [0, 1.15, 1.15 / np.sqrt(3), 0.575, 1.15 / np.sqrt(3)],
    "star": [0, 1.15, 0.4994, 0.5, 0.4994],
    "cross": [0, 1, 1, 1, 1],
    "ring": [0, 1, 1, 1, 1],
}


@dataclasses.dataclass
class Scene:
    """A drawn image and its labels.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        owner: int16 (H, W), the index of the object that each pixel shows, -1 for the background.
        classes: int32 (N,), indices into CLASSES; at least one object.
        keypoints: float32 (N, 5, 3), POINTS of each object as x, y, visibility: 2 visible, 1 behind another object,
            0 (and 0, 0) outside of the image.
    """

    image: np.ndarray
    owner: np.ndarray
    classes: np.ndarray
    keypoints: np.ndarray


class Drawn(abc.ABC):
    """An object at a random position in an image.

    Args:
        number: of its class.
        points: float (K, 2), its keypoints as x, y.
        low: int (2,), the x and y of the coverage's first pixel in the image.
        alpha: uint8 (h, w), the coverage of each pixel of the image, 0..255.
        area: in pixels, with what lies outside of the image.
        turned_away: bool (K,), the keypoints that the object hides itself; None: no one.

    Attributes:
        window: the slices of an image that `alpha` covers.
        covers: bool (h, w), the pixels that the object takes.
        seen: how many pixels of it are visible.
    """

    def __init__(self, number, points, low, alpha, area, turned_away=None):
        self.number, self.points, self.alpha, self.area = number, points, alpha, area
        self.turned_away = np.zeros(len(points), bool) if turned_away is None else turned_away
        self.window = np.s_[low[1] : low[1] + alpha.shape[0], low[0] : low[0] + alpha.shape[1]]
        self.covers = alpha > 127
        self.seen = np.count_nonzero(self.covers)

    def place(self, owner: np.ndarray, placed: list["Drawn"]) -> bool:
        """Take pixels in `owner` and a position in `placed`, if this and all objects below stay visible enough."""
        hidden = np.bincount(owner[self.window][self.covers] + 1, minlength=len(placed) + 1)[1:]
        left = [item.seen - count for item, count in zip(placed, hidden, strict=True)]
        if self.seen < SHOWN * self.area or any(
            seen < SHOWN * item.area for item, seen in zip(placed, left, strict=True)
        ):
            return False
        for item, seen in zip(placed, left, strict=True):
            item.seen = seen
        owner[self.window][self.covers] = len(placed)
        placed.append(self)
        return True

    def keypoints(self, owner: np.ndarray, number: int) -> np.ndarray:
        """float32 (K, 3), the points with their visibility in the finished scene, where this is object `number`."""
        keypoints = np.zeros((len(self.points), 3), np.float32)
        height, width = owner.shape
        for row, (x, y), away in zip(keypoints, self.points, self.turned_away, strict=True):
            if 0 <= x < width and 0 <= y < height:
                row[:] = x, y, 1 if away or owner[int(y), int(x)] > number else 2
        return keypoints

    @abc.abstractmethod
    def paint(self, rng: np.random.Generator, image: np.ndarray):
        """Draw the object with texture into uint8 `image` (H, W, 3)."""


def compose(
    rng: np.random.Generator,
    size: tuple[int, int],
    objects: tuple[int, int],
    make: Callable[[np.random.Generator, tuple[int, int]], Drawn],
) -> Scene:
    """A scene of `size` (height, width) pixels with `objects` (least, most) from `make`; fewer if they do not fit."""
    image, owner, placed = background(rng, size), np.full(size, -1, np.int16), []
    for _ in range(rng.integers(objects[0], objects[1] + 1)):
        for _attempt in range(8):
            item = make(rng, size)
            if item.place(owner, placed):
                item.paint(rng, image)
                break
    return Scene(
        photograph(rng, image),
        owner,
        np.array([item.number for item in placed], np.int32),
        np.stack([item.keypoints(owner, k) for k, item in enumerate(placed)]),
    )


def draw_scene(rng: np.random.Generator, size: tuple[int, int], objects: tuple[int, int]) -> Scene:
    """A scene of `size` (height, width) pixels with `objects` (least, most) shapes; fewer if they do not fit."""
    return compose(rng, size, objects, _Shape)


class _Shape(Drawn):
    def __init__(self, rng, size):
        extent = np.array(size[::-1])
        number = int(rng.integers(len(CLASSES)))
        name = CLASSES[number]
        # rotate less than half of what maps the shape onto itself, so that its top stays the top
        angle = 0 if name in ("circle", "ring") else np.radians(rng.uniform(-30, 30))
        radius = min(size) * rng.uniform(0.12, 0.24)
        stretch = radius * np.exp(rng.uniform(-0.15, 0.15, size=2))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        center = rng.uniform(0.6 * radius, extent - 0.6 * radius)
        contours = [outline * stretch @ turn + center for outline in _OUTLINES[name]]
        points = _AXES * np.array(_TIPS[name])[:, None] * stretch @ turn + center
        low = np.maximum(np.floor(contours[0].min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(contours[0].max(axis=0)).astype(int) + 2, extent)
        alpha = np.zeros(high[::-1] - low[::-1], np.uint8)
        cv2.fillPoly(alpha, [fixed_point(contour, low) for contour in contours], 255, cv2.LINE_AA, BITS)
        area, *holes = (cv2.contourArea(contour.astype(np.float32)) for contour in contours)
        super().__init__(number, points, low, alpha, area - sum(holes))

    def paint(self, rng, image):
        window, shape = image[self.window], self.alpha.shape
        below = np.array(cv2.mean(window, self.covers.view(np.uint8))[:3])
        color, other = _color_of(rng, self.number), rng.uniform(20, 235, size=3)
        color = contrasting(color, below)
        blend = 0.5 + 0.16 * clouds(rng, shape, 3) + pattern(rng, shape, rng.uniform(0, 0.3))
        # blend 0 is a darker color, 255 a lighter one shifted towards `other`
        dark, light = 0.55 * color, 1.1 * color + 0.3 * (other - color)
        shades = dark + (light - dark) * _RAMP
        texture = np.clip(shades, 0, 255).astype(np.uint8)[to_bytes(blend, 255)]
        alpha = self.alpha.astype(np.float32)
        cv2.blendLinear(texture, window.copy(), alpha, 255 - alpha, window)


def _color_of(rng, number) -> np.ndarray:
    """RGB 0..255: each class has a typical hue, with enough spread to be confused with another class at times."""
    hue = number / len(CLASSES) + rng.normal(0, HUE_SPREAD / 360)
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.4, 0.95), rng.uniform(0.35, 0.95)))
