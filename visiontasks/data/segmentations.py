"""Segmentations in COCO's formats, polygons and run lengths: checked and measured."""

from array import array
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from visiontasks.errors import DataError
from visiontasks.ops import numpy_boxes
from visiontasks.polygons import cut_far
from visiontasks.run_lengths import lengths_of, of_polygons


def check(
    segmentation, size: tuple[int, int], name: str, report, box: Sequence[float] | None = None
) -> list | dict | None:
    """A checked segmentation: polygons, each an array of x1, y1, x2, y2, …, or compressed run lengths.

    Args:
        segmentation: as in the annotation file.
        size: (height, width) of the image.
        name: what errors and the report call the object.
        report: gets the polygons that are left out or cut, and objects without a mask.
        box: its bbox as in the file, to detect a box written as a segmentation.

    Returns:
        None if the object has no segmentation, or none in its image; [] if no polygon has three points.

    Raises:
        OverflowError: a number is too large for a float.
        DataError: a flat list of numbers, a box, an odd number of coordinates, run lengths damaged or of another size.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        checked = _check_runs(segmentation, size, name)
    else:
        checked = _check_polygons(segmentation, size, name, report, box)
        if checked == []:
            return checked
    if checked and _is_seen(extent(checked), size):
        return checked
    report.skipped("segmentation without a pixel in its image: of the object only the box is learned", name)
    return None


def _check_polygons(segmentation, size, name, report, box) -> list | None:
    """The usable polygons; None if all lie far outside of the image."""
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise DataError(
            f"{name}: expected a segmentation of polygons [[x1, y1, x2, y2, x3, y3, …], …] or run lengths, got "
            f"{_short(segmentation)}; put a single polygon into a list, and remove a box's four numbers."
        )
    polygons, unusable = [], {}
    for number, polygon in enumerate(segmentation, start=1):
        if not all(isinstance(number, (int, float)) for number in polygon) or len(polygon) % 2:
            raise DataError(
                f"{name}: expected a polygon of pairs of numbers x, y, got {len(polygon)} values: {_short(polygon)}."
            )
        if len(polygon) == 4 and box is not None and np.allclose(polygon, box):
            raise DataError(
                f"{name}: expected a polygon of three points or more, got the four numbers of the box, "
                f"{_short(polygon)}; remove the segmentation."
            )
        points = points_of(polygon)
        if len(points) < 3:
            unusable[f"{name}, polygon {number}"] = "polygon of fewer than 3 points"
        elif not np.isfinite(points).all():
            unusable[f"{name}, polygon {number}"] = "polygon of NaN or infinity"
        elif (kept := cut_far(points, size)) is points:
            polygons.append(array("d", polygon))  # a quarter of a list's bytes: COCO as lists takes two gigabytes
        else:
            report.noted("polygon that reaches far out of its image, cut to it", f"{name}, polygon {number}")
            polygons.append(array("d", kept.ravel()))
    if polygons:
        for part, what in unusable.items():
            report.skipped(f"{what}, left out of its object", part)
    else:
        report.skipped(f"{next(iter(unusable.values()))}, object skipped", name)
        return []
    return [polygon for polygon in polygons if len(polygon)] or None


def _is_seen(box, size) -> bool:
    """Whether a box lies in an image of (height, width), at least in part."""
    return numpy_boxes.area(numpy_boxes.clip(np.array(box), np.array([0, 0, size[1], size[0]]))) > 0


def _check_runs(segmentation, size, name) -> dict:
    counts, written = segmentation.get("counts"), segmentation.get("size")
    if not isinstance(written, list) or tuple(written) != tuple(size):
        raise DataError(
            f"{name}: expected run lengths of the image's size [height, width] {list(size)}, got {written}; "
            "export the segmentation again for this image."
        )
    numbers = lengths_of(counts) if isinstance(counts, str) else counts
    numbers = numbers.tolist() if isinstance(numbers, np.ndarray) else numbers
    whole = isinstance(numbers, list) and all(type(number) is int and number >= 0 for number in numbers)
    # pycocotools does not check this: for runs that end too early it returns uninitialized memory
    if not whole or sum(numbers) != size[0] * size[1]:
        raise DataError(
            f"{name}: expected run lengths that are integers and add up to {size[0]} × {size[1]}, or their compressed "
            f"text, got {_short(counts)}; export the segmentation again."
        )
    size = list(size)
    # the numbers too: to read them from the text takes longer than to move the mask
    runs = {"size": size, "counts": counts.encode()} if isinstance(counts, str) else None
    runs = runs or coco_mask.frPyObjects({"size": size, "counts": counts}, *size)
    return {**runs, "lengths": np.array(numbers, np.uint32)}


def area(segmentation: list | dict, size: tuple[int, int]) -> float:
    """The area of a checked segmentation in pixels²."""
    runs = segmentation if isinstance(segmentation, dict) else of_polygons(list(map(points_of, segmentation)), size)
    return float(coco_mask.area(runs))


def extent(segmentation: list | dict) -> list[float]:
    """The box x1, y1, x2, y2 around a checked segmentation."""
    if isinstance(segmentation, dict):
        x, y, width, height = coco_mask.toBbox(segmentation).tolist()
        return [x, y, x + width, y + height]
    points = np.concatenate(list(map(points_of, segmentation)))
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def points_of(polygon: Sequence[float]) -> np.ndarray:
    """x1, y1, x2, y2, … as float64 (P, 2)."""
    return np.array(polygon, np.float64).reshape(-1, 2)


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
