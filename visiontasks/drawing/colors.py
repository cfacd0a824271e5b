"""A colour for every class number, told apart with any kind of colour vision as well as can be."""

import functools

import cv2
import numpy as np

GREY = (96, 96, 96)
# Okabe and Ito, "Color Universal Design", 2008, but black
OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
# linear RGB as seen without red and without green cones: Machado et al. 2009, severity 1.0
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))


def color(index: int) -> tuple[int, int, int]:
    """RGB of a class number, always the same; the colours repeat after some hundreds."""
    colors = _palette()
    return colors[index % len(colors)]


@functools.cache
def _palette():
    """Okabe and Ito's seven; then, again and again, the colour that is farthest from all before it."""
    levels = np.linspace(0, 255, 8).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    lightness = _seen(candidates)[0, :, 0]
    candidates = candidates[(lightness > 25) & (lightness < 92)]
    chosen = [tuple(map(int, c)) for c in OKABE_ITO]
    places = _seen(np.concatenate([candidates, chosen, [GREY]]))
    count = len(candidates)
    distances = np.full(count, np.inf)
    for taken in range(count, places.shape[1]):
        distances = np.minimum(distances, _apart(places, taken)[:count])
    while distances.max() > 0:
        best = int(distances.argmax())
        chosen.append(tuple(map(int, candidates[best])))
        distances = np.minimum(distances, _apart(places, best)[:count])
    return chosen


def _seen(colors):
    """RGB (N, 3) to L*a*b* (3, N, 3): seen with all cones, without red ones, without green ones."""
    part = np.asarray(colors) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)  # sRGB's curve, IEC 61966-2-1
    views = [np.clip(linear @ np.transpose(eye), 0, 1) for eye in (np.eye(3), PROTANOPIA, DEUTERANOPIA)]
    return cv2.cvtColor(np.stack(views).astype(np.float32), cv2.COLOR_LRGB2LAB)


def _apart(places, index):
    """How far each place is from one of them, in the eye that tells the two apart worst."""
    return np.linalg.norm(places - places[:, index : index + 1], axis=-1).min(axis=0)
