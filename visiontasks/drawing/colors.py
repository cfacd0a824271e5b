"""A color for every class index, as distinguishable as possible with any kind of color vision."""

import functools

import cv2
import numpy as np

GRAY = (96, 96, 96)
# Okabe and Ito, "Color Universal Design", 2008, without black
OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
# linear RGB as perceived without red cones and without green cones: Machado et al. 2009, severity 1.0
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))


def color(index: int) -> tuple[int, int, int]:
    """The RGB color of a class index, always the same; colors repeat after some hundreds."""
    colors = _palette()
    return colors[index % len(colors)]


@functools.cache
def _palette():
    """Okabe and Ito's seven colors; then, repeatedly, the color that is farthest from all previous ones."""
    levels = np.linspace(0, 255, 8).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    lightness = _perceived(candidates)[0, :, 0]
    candidates = candidates[(lightness > 25) & (lightness < 92)]
    chosen = [tuple(map(int, c)) for c in OKABE_ITO]
    points = _perceived(np.concatenate([candidates, chosen, [GRAY]]))
    count = len(candidates)
    distances = np.full(count, np.inf)
    for taken in range(count, points.shape[1]):
        distances = np.minimum(distances, _apart(points, taken)[:count])
    while distances.max() > 0:
        best = int(distances.argmax())
        chosen.append(tuple(map(int, candidates[best])))
        distances = np.minimum(distances, _apart(points, best)[:count])
    return chosen


def _perceived(colors):
    """RGB (N, 3) to L*a*b* (3, N, 3): perceived with all cones, without red cones, without green cones."""
    values = np.asarray(colors) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)  # sRGB, IEC 61966-2-1
    views = [np.clip(linear @ np.transpose(eye), 0, 1) for eye in (np.eye(3), PROTANOPIA, DEUTERANOPIA)]
    return cv2.cvtColor(np.stack(views).astype(np.float32), cv2.COLOR_LRGB2LAB)


def _apart(points, index):
    """The distance of each point to one of them, with the color vision that separates the two worst."""
    return np.linalg.norm(points - points[:, index : index + 1], axis=-1).min(axis=0)
