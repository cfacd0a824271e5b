"""Textures, backgrounds and light of drawn scenes; functions of a random generator."""

import cv2
import numpy as np

BITS = 4  # OpenCV draws in fixed point: 1/16 of a pixel


def fixed_point(points: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Points float (N, 2) x, y as OpenCV draws them with shift `BITS`, on an image whose corner is at `origin`."""
    return np.round((points - origin - 0.5) * 2**BITS).astype(np.int32)  # OpenCV's first pixel has its center at 0


def contrasting(color: np.ndarray, below: np.ndarray) -> np.ndarray:
    """RGB 0..255, the color, darker or lighter if no channel contrasts with the color `below`."""
    if np.abs(color - below).max() < 60:
        return np.where(below > 127, color * 0.4, 255 - (255 - color) * 0.4)
    return color


def clouds(rng, shape, cells, channels=1) -> np.ndarray:
    """Smooth noise of about unit variance, float32 (*shape), or (*shape, channels)."""
    coarse = rng.standard_normal((cells, cells, channels), np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR)


def pattern(rng, shape, height) -> np.ndarray:
    """Stripes, checks, waves or nothing, float32 (*shape) from -height to height."""
    kind, step, angle = rng.integers(4), rng.uniform(0.25, 1.0), rng.uniform(0, np.pi)
    phases = rng.uniform(0, 6, size=2)
    if kind == 3:
        return np.zeros(shape, np.float32)
    values = _wave(shape, step * np.sin(angle), step * np.cos(angle), phases[0])
    if kind > 0:
        values *= _wave(shape, step * np.cos(angle), -step * np.sin(angle), phases[1])
    if kind == 1:
        values = np.sign(values)
    return values * np.float32(height)


def _wave(shape, per_row, per_column, phase):
    """sin(per_row * y + per_column * x + phase) by the addition theorem: one sine per row and column, not per pixel."""
    y, x = np.arange(shape[0]) * per_row + phase, np.arange(shape[1]) * per_column
    return np.stack([np.sin(y), np.cos(y)], 1).astype(np.float32) @ np.stack([np.cos(x), np.sin(x)]).astype(np.float32)


def to_bytes(values, scale=1.0) -> np.ndarray:
    """Numbers times `scale`, rounded and saturated to uint8."""
    return cv2.addWeighted(values, scale, values, 0, 0, dtype=cv2.CV_8U)  # rounds and saturates


def background(rng, size) -> np.ndarray:
    """uint8 (H, W, 3): a varying color, grain, perhaps a pattern, and strokes that are not shapes."""
    color = rng.uniform(40, 210) + rng.uniform(-25, 25, size=3)  # grayish, as most backgrounds are
    detail = 8 * clouds(rng, size, 40) + pattern(rng, size, rng.uniform(0, 16))
    ground = 14 * rng.standard_normal((4, 4, 1), np.float32) + 8 * rng.standard_normal((4, 4, 3), np.float32)
    ground += color.astype(np.float32)
    ground = cv2.resize(ground, size[::-1], interpolation=cv2.INTER_LINEAR)
    image = cv2.add(ground, cv2.merge([detail] * 3), dtype=cv2.CV_8U)
    for _ in range(rng.integers(0, 7)):
        stroke = rng.uniform(0, 1, size=(3, 2)) * size[::-1] * 2**BITS
        ink, width = color + rng.uniform(-60, 60, size=3), int(rng.integers(1, 4))
        cv2.polylines(image, [stroke.astype(np.int32)], False, ink.tolist(), width, cv2.LINE_AA, BITS)
    return image


def photograph(rng, image) -> np.ndarray:
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
