"""Skeletons of random people, and the heat maps that a perfect network would answer."""

import numpy as np

LIMBS = [(1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)]
LIMBS += [(1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (2, 16), (5, 17)]
EXTRA = (17, 18)  # ear to shoulder
_HEIGHTS = [0.1, 0.2, 0.2, 0.37, 0.52, 0.2, 0.37, 0.52, 0.55, 0.77, 1.0, 0.55, 0.77, 1.0, 0.07, 0.07, 0.09, 0.09]
_ACROSS = [0, 0, 0.1, 0.13, 0.14, -0.1, -0.13, -0.14, 0.07, 0.08, 0.08, -0.07, -0.08, -0.08, 0.02, -0.02, 0.05, -0.05]
STANDING = np.stack([_ACROSS, _HEIGHTS], axis=1)
_PARENTS = {end: start for start, end in LIMBS[:17]}


def person(rng, height, center):
    """float32 (18, 3): a person of OpenPose's points, every limb of which is turned by up to 40°; all are labeled."""
    points, turn = np.zeros((18, 2)), rng.uniform(-0.5, 0.5)
    for part in _PARENTS:  # a parent comes before what hangs on it
        angle = turn + rng.uniform(-0.7, 0.7)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = STANDING[part] - STANDING[_PARENTS[part]]
        points[part] = points[_PARENTS[part]] + rotation @ offset
    points = (points - points.mean(axis=0)) * height + center
    return np.concatenate([points, np.full((18, 1), 2)], axis=1).astype(np.float32)


def isolated(rng, size, rows, columns):
    """float32 (rows · columns, 18, 3): a person in each field of a grid; a tenth of the points is not labeled."""
    field = np.array([size[1] / columns, size[0] / rows])
    centers = [(np.array([column, row]) + 0.5) * field for row in range(rows) for column in range(columns)]
    people = np.stack([person(rng, 0.7 * field.min(), center) for center in centers])
    people[rng.random(people.shape[:2]) < 0.1] = 0
    return people


def crowd(rng, size, count, apart):
    """float32 (count, 18, 3): people anywhere, one over the other; equal points of two are `apart` pixels or more."""
    people = []
    while len(people) < count:
        height = rng.uniform(0.25, 0.6) * size[0]
        new = person(rng, height, rng.uniform(0, 1, 2) * size[::-1])
        inside = (new[:, :2] > 0).all(1) & (new[:, :2] < size[::-1]).all(1)
        near = [np.hypot(*(new - other)[:, :2].T).min() < apart for other in people]
        if inside.all() and not any(near):
            people.append(new)
    return np.stack(people)


def heat_maps(people, size, stride, sigma):
    """float32 (h, w, K): a Gaussian of `sigma` pixels at each labeled point of (N, K, 3); of several the highest."""
    height, width = size[0] // stride, size[1] // stride
    x, y = (np.arange(width) + 0.5) * stride, (np.arange(height)[:, None] + 0.5) * stride
    maps = np.zeros((height, width, people.shape[1]))
    for points in people:
        for part, (px, py, visibility) in enumerate(points):
            if visibility > 0:
                drawn = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
                maps[..., part] = np.maximum(maps[..., part], drawn)
    return maps.astype(np.float32)
