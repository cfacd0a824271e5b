"""Polygons of an image's objects, many at once: moved, cut to an image, and filled."""

from collections.abc import Sequence

import cv2
import numpy as np

_FAR = 10  # times the longer side of the image; nearer polygons keep the pixels that pycocotools gives them
_MOST = 2**24  # pixels: pycocotools counts fifths of them in 32 bits, and crashes where they overflow


def moved(
    polygons: Sequence[np.ndarray], matrix: np.ndarray, here: tuple[int, int], there: tuple[int, int]
) -> list[np.ndarray]:
    """Polygons after an affine map of their image, without what lies outside of either image.

    Args:
        polygons: float64 (P, 2) each, x and y in pixels.
        matrix: (2, 3).
        here, there: (height, width) of the image before and after.

    Returns:
        As many; one of which nothing is left has no points.
    """
    polygons = inside(polygons, here)
    if not polygons:
        return []
    ends = np.cumsum([len(polygon) for polygon in polygons]).tolist()
    points = np.concatenate(polygons) @ matrix[:, :2].T + matrix[:, 2]
    return inside([points[i:j] for i, j in zip([0, *ends], ends, strict=False)], there)


def inside(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
    """The polygons cut to an image of (height, width); one of which nothing is left has no points."""
    # most lie inside, so all are looked at together first
    if not polygons:
        return []
    outside = np.concatenate(polygons)
    outside = ((outside < 0) | (outside > size[::-1])).any(axis=1)
    if not outside.any():
        return list(polygons)
    ends = np.cumsum([len(polygon) for polygon in polygons]).tolist()
    crossing = (outside[i:j].any() for i, j in zip([0, *ends], ends, strict=False))
    return [_clipped(p, size) if crosses else p for p, crosses in zip(polygons, crossing, strict=True)]


def cut_far(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A polygon (P, 2) as it is, or, if it reaches far out of its image of `size`, cut to it; none if it has a NaN."""
    if np.abs(polygon).max(initial=0) <= min(_FAR * max(size), _MOST):
        return polygon
    if np.isnan(polygon).any():
        return polygon[:0]
    return _clipped(np.clip(polygon, -(2.0**40), 2.0**40), size)  # so that the cut is exact to 1/1000 of a pixel


def _clipped(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of a polygon inside an image. Sutherland and Hodgman 1974, https://doi.org/10.1145/360767.360802.

    Parts that only the outside connects stay connected, by an edge along the border.
    """
    for axis, limit in enumerate(size[::-1]):
        for side, edge in ((1, 0.0), (-1, float(limit))):
            inside = side * (polygon[:, axis] - edge) >= 0
            if inside.all():
                continue
            before, was_inside = np.roll(polygon, 1, axis=0), np.roll(inside, 1)
            crosses = inside != was_inside
            with np.errstate(divide="ignore", invalid="ignore"):
                share = (edge - before[:, axis]) / (polygon[:, axis] - before[:, axis])
                crossing = before + share[:, None] * (polygon - before)
            crossing[:, axis] = edge
            # of each edge first where it crosses, then where it ends
            points = np.stack([crossing, polygon], axis=1).reshape(-1, 2)
            polygon = points[np.stack([crosses, inside], axis=1).ravel()]
    return polygon


def filled(polygons: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """The pixels of each polygon on a grid of its own, uint8 of `sizes`: 1 where a pixel's center lies inside.

    What a polygon encloses twice is outside (the even-odd rule).

    Args:
        polygons: float64 (P, 2) each, x and y in pixels of the grid.
        sizes: (height, width) of each grid.
    """
    if not polygons:
        return []
    heights, widths = np.array(sizes).T
    counts = np.array([len(polygon) for polygon in polygons])
    points, ends = np.concatenate(polygons), np.cumsum(counts)
    following = np.arange(1, len(points) + 1)
    following[ends[counts > 0] - 1] = (ends - counts)[counts > 0]
    owner = np.repeat(np.arange(len(polygons)), counts)
    (x0, y0), (x1, y1) = points.T, points[following].T
    # the rows whose center lies between an edge's ends; at a corner one of the two edges has it
    low, high = np.ceil(np.minimum(y0, y1) - 0.5), np.ceil(np.maximum(y0, y1) - 0.5)
    low, high = (np.clip(row, 0, heights[owner]).astype(np.int64) for row in (low, high))
    rows = high - low
    edge = np.repeat(np.arange(len(rows)), rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows - low, rows)
    x = x0[edge] + (row + 0.5 - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    owner = owner[edge]
    column = np.clip(np.ceil(x - 0.5), 0, widths[owner]).astype(np.int64)
    # in a row of pixels, all polygons after each other, every crossing switches from outside to inside or back
    areas = heights * widths
    starts = np.cumsum(areas) - areas
    crossings = np.sort(starts[owner] + row * widths[owner] + column)
    lengths = np.diff(crossings, prepend=0, append=areas.sum())
    pixels = np.repeat((np.arange(len(lengths)) & 1).astype(np.uint8), lengths)
    return [
        pixels[start : start + height * width].reshape(height, width)
        for start, height, width in zip(starts.tolist(), heights.tolist(), widths.tolist(), strict=True)
    ]


def outlines(pixels: np.ndarray) -> list[np.ndarray]:
    """Polygons (P, 2) around the connected parts of pixels, uint8 (H, W).

    They run a quarter of a pixel inside the pixels' edges, so that `filled` gives back the same pixels. COCO's polygons
    have no holes: to one, a polygon goes along a line, around it, and back along the same line.
    """
    twice = pixels.repeat(2, axis=0).repeat(2, axis=1)
    parts, nesting = cv2.findContours(twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    around = [] if nesting is None else nesting[0, :, 3].tolist()  # of a hole the part's number, of a part -1
    polygons = {number: parts[number][:, 0] / 2 + 0.25 for number, part in enumerate(around) if part < 0}
    for hole, part in zip(parts, around, strict=True):
        if part >= 0:
            polygons[part] = _with_hole(polygons[part], hole[:, 0] / 2 + 0.25)
    return list(polygons.values())


def _with_hole(polygon, hole):
    """One polygon, of which the two points nearest to each other are joined."""
    distances = ((polygon[:, None] - hole) ** 2).sum(axis=-1)
    here, there = np.unravel_index(distances.argmin(), distances.shape)
    return np.concatenate([polygon[: here + 1], hole[there:], hole[: there + 1], polygon[here:]])
