"""Draws scenes of simple shapes with texture, overlap and uneven light; a function of a random generator."""

import colorsys
import dataclasses

import cv2
import numpy as np

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")
POINTS = ("center", "top", "right", "bottom", "left")  # on the object's axes, which rotate with it
SHOWN = 0.5  # the smallest visible share of an object; with less nobody could name it
HUE_SPREAD = 16.0  # degrees; classes are 60 apart, so the color of one object in sixteen suggests another class
_AXES = np.array([[0, 0], [0, -1], [1, 0], [0, 1], [-1, 0]], np.float64)
_RAMP = np.linspace(0, 1, 256)[:, None]
_BITS = 4  # OpenCV draws in fixed point: 1/16 of a pixel


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


def draw_scene(rng: np.random.Generator, size: tuple[int, int], objects: tuple[int, int]) -> Scene:
    """A scene of `size` (height, width) pixels with `objects` (least, most); fewer if they do not fit."""
    image, owner, placed = _background(rng, size), np.full(size, -1, np.int16), []
    for _ in range(rng.integers(objects[0], objects[1] + 1)):
        for _attempt in range(8):
            item = _Object(rng, size)
            if item.place(owner, placed):
                item.paint(rng, image)
                break
    return Scene(
        _photograph(rng, image),
        owner,
        np.array([item.number for item in placed], np.int32),
        np.stack([_keypoints(item.points, owner, k) for k, item in enumerate(placed)]),
    )


class _Object:
    """A shape at a random position in an image: its class, its points, and its coverage of each pixel."""

    def __init__(self, rng, size):
        extent = np.array(size[::-1])
        self.number = int(rng.integers(len(CLASSES)))
        name = CLASSES[self.number]
        # rotate less than half of what maps the shape onto itself, so that its top stays the top
        angle = 0 if name in ("circle", "ring") else np.radians(rng.uniform(-30, 30))
        radius = min(size) * rng.uniform(0.12, 0.24)
        stretch = radius * np.exp(rng.uniform(-0.15, 0.15, size=2))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        center = rng.uniform(0.6 * radius, extent - 0.6 * radius)
        contours = [outline * stretch @ turn + center for outline in _OUTLINES[name]]
        self.points = _AXES * np.array(_TIPS[name])[:, None] * stretch @ turn + center
        low = np.maximum(np.floor(contours[0].min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(contours[0].max(axis=0)).astype(int) + 2, extent)
        self.window = np.s_[low[1] : high[1], low[0] : high[0]]
        # OpenCV's pixel (0, 0) has its center at (0, 0); here it is at (0.5, 0.5)
        fixed = [np.round((c - low - 0.5) * 2**_BITS).astype(np.int32) for c in contours]
        self.alpha = np.zeros(high[::-1] - low[::-1], np.uint8)
        cv2.fillPoly(self.alpha, fixed, 255, cv2.LINE_AA, _BITS)
        self.covers = self.alpha > 127
        self.seen = np.count_nonzero(self.covers)
        self.area = cv2.contourArea(contours[0].astype(np.float32))
        self.area -= sum(cv2.contourArea(c.astype(np.float32)) for c in contours[1:])

    def place(self, owner, placed) -> bool:
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

    def paint(self, rng, image):
        """Draw the object with texture into uint8 `image` (H, W, 3)."""
        window, shape = image[self.window], self.alpha.shape
        below = np.array(cv2.mean(window, self.covers.view(np.uint8))[:3])
        color, other = _color_of(rng, self.number), rng.uniform(20, 235, size=3)
        if np.abs(color - below).max() < 60:  # at least one channel must contrast with what lies below
            color = np.where(below > 127, color * 0.4, 255 - (255 - color) * 0.4)
        blend = 0.5 + 0.16 * _clouds(rng, shape, 3) + _pattern(rng, shape, rng.uniform(0, 0.3))
        # blend 0 is a darker color, 255 a lighter one shifted towards `other`
        dark, light = 0.55 * color, 1.1 * color + 0.3 * (other - color)
        shades = dark + (light - dark) * _RAMP
        texture = np.clip(shades, 0, 255).astype(np.uint8)[_to_bytes(blend, 255)]
        alpha = self.alpha.astype(np.float32)
        cv2.blendLinear(texture, window.copy(), alpha, 255 - alpha, window)


def _color_of(rng, number) -> np.ndarray:
    """RGB 0..255: each class has a typical hue, with enough spread to be confused with another class at times."""
    hue = number / len(CLASSES) + rng.normal(0, HUE_SPREAD / 360)
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.4, 0.95), rng.uniform(0.35, 0.95)))


def _keypoints(points, owner, number) -> np.ndarray:
    keypoints = np.zeros((len(POINTS), 3), np.float32)
    height, width = owner.shape
    for row, (x, y) in zip(keypoints, points, strict=True):
        if 0 <= x < width and 0 <= y < height:
            row[:] = x, y, 1 if owner[int(y), int(x)] > number else 2
    return keypoints


def _clouds(rng, shape, cells, channels=1) -> np.ndarray:
    """Smooth noise of about unit variance, float32 (*shape), or (*shape, channels)."""
    coarse = rng.standard_normal((cells, cells, channels), np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _pattern(rng, shape, height) -> np.ndarray:
    """Stripes, checks, waves or nothing, float32 (*shape) from -height to height."""
    kind, step, angle = rng.integers(4), rng.uniform(0.25, 1.0), rng.uniform(0, np.pi)
    phases = rng.uniform(0, 6, size=2)
    if kind == 3:
        return np.zeros(shape, np.float32)
    pattern = _wave(shape, step * np.sin(angle), step * np.cos(angle), phases[0])
    if kind > 0:
        pattern *= _wave(shape, step * np.cos(angle), -step * np.sin(angle), phases[1])
    if kind == 1:
        pattern = np.sign(pattern)
    return pattern * np.float32(height)


def _wave(shape, per_row, per_column, phase):
    """sin(per_row * y + per_column * x + phase) by the addition theorem: one sine per row and column, not per pixel."""
    y, x = np.arange(shape[0]) * per_row + phase, np.arange(shape[1]) * per_column
    return np.stack([np.sin(y), np.cos(y)], 1).astype(np.float32) @ np.stack([np.cos(x), np.sin(x)]).astype(np.float32)


def _to_bytes(values, scale=1.0) -> np.ndarray:
    return cv2.addWeighted(values, scale, values, 0, 0, dtype=cv2.CV_8U)  # rounds and saturates


def _background(rng, size) -> np.ndarray:
    """uint8 (H, W, 3): a varying color, grain, perhaps a pattern, and strokes that are not shapes."""
    color = rng.uniform(40, 210) + rng.uniform(-25, 25, size=3)  # grayish, as most backgrounds are
    detail = 8 * _clouds(rng, size, 40) + _pattern(rng, size, rng.uniform(0, 16))
    ground = 14 * rng.standard_normal((4, 4, 1), np.float32) + 8 * rng.standard_normal((4, 4, 3), np.float32)
    ground += color.astype(np.float32)
    ground = cv2.resize(ground, size[::-1], interpolation=cv2.INTER_LINEAR)
    image = cv2.add(ground, cv2.merge([detail] * 3), dtype=cv2.CV_8U)
    for _ in range(rng.integers(0, 7)):
        stroke = rng.uniform(0, 1, size=(3, 2)) * size[::-1] * 2**_BITS
        ink, width = color + rng.uniform(-60, 60, size=3), int(rng.integers(1, 4))
        cv2.polylines(image, [stroke.astype(np.int32)], False, ink.tolist(), width, cv2.LINE_AA, _BITS)
    return image


def _photograph(rng, image) -> np.ndarray:
    """uint8 scene to uint8 image: uneven light, blur, noise."""
    size = image.shape[:2]
    corners = np.clip(rng.uniform(0.75, 1.15) + 0.18 * rng.standard_normal((2, 2, 1)), 0.45, 1.4).astype(np.float32)
    light = cv2.resize(corners.repeat(3, axis=2), size[::-1], interpolation=cv2.INTER_LINEAR)
    image = cv2.multiply(image, light, dtype=cv2.CV_8U)
    blur, strength = rng.uniform(-1, 1.5), rng.uniform(2, 18)
    if blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    # the mean of two uniform bytes: almost normal, and much cheaper; mean 127.5, standard deviation 52
    grain = np.frombuffer(rng.bytes(image.size + 8), np.uint8)
    grain = cv2.addWeighted(grain[:-8].reshape(image.shape), 0.5, grain[8:].reshape(image.shape), 0.5, 0)
    return cv2.addWeighted(image, 1, grain, strength / 52, -127.5 * strength / 52)
