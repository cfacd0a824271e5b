"""Tells from the numbers of a data set's boxes whether they are written in another format than they should be."""

from collections.abc import Sequence

import numpy as np

from visiontasks.errors import DataError

CORNERS, SIDES, CENTERS = "x1, y1, x2, y2", "x, y, width, height", "center x, center y, width, height"

_FEWEST = 3  # boxes that must be wrong, so that a few broken ones in a small set stay what they are
_SOME, _MOST, _ALL = 0.2, 0.5, 0.9  # shares of the boxes
_EDGE = 0.05  # of the image's size: a box may leave its image by so much from careless drawing


def check_format(
    boxes: Sequence[Sequence[float]],
    sizes: Sequence[Sequence[float]],
    expected: str,
    where,
    areas: Sequence[float] | None = None,
    shares: bool = False,
):
    """Raise if most boxes of a data set look wrong, before they are clipped or skipped one by one.

    Args:
        boxes: (N, 4), as they are written.
        sizes: (N, 2), (height, width) of their images.
        expected: their format: CORNERS, SIDES or CENTERS.
        where: the file or folder, for the error.
        areas: (N,), as they are written beside the boxes; NaN where they are not, or not the box's.
        shares: the boxes should be shares of the image, not pixels; `sizes` are not used then.

    Raises:
        DataError: most boxes are shares instead of pixels, or the reverse; or they leave their images or have no
            extent; or another format fits them all, or their areas; the text says which.
    """
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    finite = np.isfinite(boxes).all(axis=1)
    boxes = boxes[finite]
    if len(boxes) < _FEWEST:
        return
    small = (np.abs(boxes) <= 1 + _EDGE).all(axis=1)
    windows = np.ones_like(boxes) if shares else np.array(sizes, np.float64).reshape(-1, 2)[finite][:, [1, 0, 1, 0]]
    unit = "shares of the image" if shares else "pixels"

    def wrong(which, cause):
        number = np.flatnonzero(which)[0]
        box, (width, height) = ", ".join(f"{n:g}" for n in boxes[number]), windows[number, :2]
        size = "" if shares else f" in an image of {width:g} x {height:g}"
        return DataError(
            f"{where}: expected boxes as {expected} in {unit}, but {which.sum()} of {len(boxes)} look wrong, such as "
            f"{box}{size}; {cause}."
        )

    if shares and (~small).mean() > _MOST:
        raise wrong(~small, "they seem to be pixels: divide them by the image's width and height")
    if not shares and small.mean() > _MOST and not (boxes == boxes.round()).all():
        raise wrong(small, "they seem to be shares of the image: multiply them by its width and height")
    fitting = {name: _fits(corners_of(boxes, name) / windows, _EDGE) for name in (CORNERS, SIDES, CENTERS)}
    bad = ~fitting.pop(expected)
    name = max(fitting, key=lambda one: fitting[one].mean())
    fix = f"they seem to be {name}: write them as {expected}"
    if expected == SIDES and areas is not None:
        given, (x, y, width, height) = np.array(areas, np.float64)[finite], boxes.T
        told = fitting[CORNERS] & np.isclose((width - x) * (height - y), given, rtol=0.01)
        told &= ~np.isclose(width * height, given, rtol=0.1)
        if told.sum() >= _FEWEST and told.sum() > _MOST * np.isfinite(given).sum():
            raise wrong(told, f"their areas fit {CORNERS}: write them as {expected}")
    if bad.sum() < _FEWEST or bad.mean() < _SOME:
        return
    if fitting[name].mean() >= _ALL:
        raise wrong(bad, fix)
    if bad.mean() > _MOST:
        raise wrong(bad, "they leave their images or have no extent: they may be of images of another size")


def corners_of(boxes, name) -> np.ndarray:
    """(N, 4) x1, y1, x2, y2 of boxes in a format."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if name == CENTERS:
        return np.concatenate([first - second / 2, first + second / 2], axis=1)
    return boxes if name == CORNERS else np.concatenate([first, first + second], axis=1)


def _fits(corners, edge) -> np.ndarray:
    """bool (N,): boxes, as shares of their images, that have an extent and lie in them."""
    inside = (corners >= -edge).all(axis=1) & (corners <= 1 + edge).all(axis=1)
    return inside & (corners[:, 2:] > corners[:, :2]).all(axis=1)
