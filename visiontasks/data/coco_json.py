"""Reads an annotation file in COCO's format, checks it, and groups its objects by image."""

import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.data import segmentations
from visiontasks.data.box_formats import SIDES, check_format
from visiontasks.data.objects import Objects, usable_boxes, usable_points
from visiontasks.data.text import content_of
from visiontasks.errors import DataError
from visiontasks.ops import numpy_boxes

_TABLES = ("images", "annotations", "categories")
_PLACES = ("bbox", "segmentation", "keypoints")


@dataclasses.dataclass(frozen=True)
class CocoJson:
    """The content of an annotation file, with its ids checked.

    Args:
        path: the file.
        images: {image id: entry}.
        annotations: {image id: [(name for errors, entry)]}.
        names: the classes, by default in the order of the category ids.
        category_ids: the original id of each class; -1 for a class that the file lacks.
        points: the names of the keypoints; () if no category has keypoints.
        limbs: pairs of indices of keypoints, which the file calls skeleton.
        crowds: whether objects of iscrowd 1 are crowds, which are ignored; else they are objects.
    """

    path: Path
    images: dict
    annotations: dict
    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    points: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    crowds: bool = True

    @functools.cached_property
    def numbers(self) -> dict[int, int]:
        """{category id: class}."""
        return {number: at for at, number in enumerate(self.category_ids)}

    @functools.cached_property
    def of_images(self) -> bool:
        """Whether the annotations are classes of images: none has a box, a segmentation or keypoints."""
        entries = [entry for rows in self.annotations.values() for _, entry in rows]
        return bool(entries) and not any(entry.get(key) for entry in entries for key in _PLACES)

    def objects(self, image_id, size: tuple[int, int], report) -> Objects:
        """The objects of an image of that (height, width). What cannot be used goes to `report`.

        Raises:
            DataError: an annotation is not in COCO's format; the text names the file and the annotation.
        """
        try:
            entries = [Entry(self, *pair, size, report) for pair in self.annotations.get(image_id, ())]
            return self._objects(entries, size, report)
        except OverflowError as error:
            raise DataError(f"{self.path}, annotations of image {image_id}: {error}; correct that number.") from error

    def check_boxes(self, sizes: dict):
        """Raise if most boxes look wrong, of the images of {image id: (height, width)}.

        Raises:
            DataError: see `check_format`.
        """
        boxes, places, areas = [], [], []
        for number, size in sizes.items():
            for _, entry in self.annotations.get(number, ()):
                box, area, mask = (entry.get(key) for key in ("bbox", "area", "segmentation"))
                if not _is_list(box, 4) or (mask and not min(box[2:]) > 0):  # the rest is an error, or derived
                    continue
                boxes.append(box)
                places.append(size)
                areas.append(area if isinstance(area, (int, float)) and not mask else math.nan)
        try:
            check_format(boxes, places, SIDES, self.path, areas)
        except OverflowError:  # an error of its own, which names the annotation
            return

    def _objects(self, entries, size, report) -> Objects:
        for entry in entries:
            if entry.crowd:
                report.skipped("object of iscrowd 1, ignored as a crowd (crowd=objects learns it)", entry.name)
            if entry.mask is None and entry.box is None:
                report.skipped("object with neither box nor segmentation, skipped", entry.name)
        entries = [entry for entry in entries if entry.mask != [] and entry.box is not None]
        boxes, kept = usable_boxes([e.box for e in entries], size, [e.name for e in entries], report)
        entries = [entries[number] for number in kept]
        points = np.reshape([entry.points for entry in entries], (len(entries), len(self.points), 3))
        points = usable_points(points, size, [entry.name for entry in entries], report)
        return Objects(
            boxes,
            np.array([entry.number for entry in entries], np.int32),
            np.array([entry.crowd for entry in entries], bool),
            np.array([entry.area for entry in entries], np.float32),
            points if self.points else None,
            tuple(entry.mask for entry in entries),
        )


class Entry:
    """One annotation in the package's format: `box` (or None), class `number`, `crowd`, `area`, `mask`, `points`.

    Raises:
        DataError: as `CocoJson.objects`.
    """

    def __init__(self, file: CocoJson, name: str, entry: dict, size: tuple[int, int], report):
        self.name, self.crowd = name, file.crowds and entry.get("iscrowd") in (1, "1")
        self.number = file.numbers[entry["category_id"]]
        written = _numbers(entry.get("bbox"), 4, "bbox [x, y, width, height]", name)
        self.mask = segmentations.check(entry.get("segmentation"), size, name, report, written)
        self.box = [0.0, 0.0, float(size[1]), float(size[0])] if file.of_images else None
        if written:
            x, y, width, height = written
            self.box = [x, y, x + width, y + height]
        if self.mask and not (written and all(map(math.isfinite, written)) and width > 0 and height > 0):
            report.noted("box that is missing, NaN or without extent, derived from the segmentation", name)
            self.box = segmentations.extent(self.mask)
        elif self.box and not self.mask and (degrees := _rotation(entry)):
            report.noted("box with a rotation, taken as the upright box around it", name)
            self.box = numpy_boxes.turned(self.box, degrees).tolist()
        self.points = _points(entry.get("keypoints"), len(file.points), name)
        area = entry.get("area")
        if isinstance(area, (int, float)) and 0 <= area < math.inf:
            self.area = area
        elif self.points[:, 2].any() and not self.crowd:
            raise DataError(
                f"{name}: expected an area beside its keypoints, because they are scored by it, got {area!r}; write "
                "the object's area in pixels², or about half of its box's area."
            )
        elif self.mask:
            self.area = segmentations.area(self.mask, size)
        else:
            self.area = (self.box[2] - self.box[0]) * (self.box[3] - self.box[1]) if self.box else 0
            self.area = self.area if 0 <= self.area < math.inf else 0  # such a box is skipped


def _numbers(values, count, what, name) -> list[float] | None:
    if values is None or values == []:
        return None
    if not _is_list(values, count):
        raise DataError(f"{name}: expected a {what} of {count} numbers, got {str(values)[:80]}.")
    return [float(value) for value in values]


def _is_list(values, count) -> bool:
    return isinstance(values, list) and len(values) == count and all(isinstance(n, (int, float)) for n in values)


def _rotation(entry) -> float:
    """The degrees by which CVAT's box is turned about its center; 0 if it is upright."""
    attributes = entry.get("attributes")
    degrees = attributes.get("rotation") if isinstance(attributes, dict) else None
    return float(degrees) if isinstance(degrees, (int, float)) and math.isfinite(degrees) and degrees % 180 else 0.0


def _points(values, count, name) -> np.ndarray:
    """float64 (K, 3), as they are written. `num_keypoints` is not used: it is often wrong."""
    if not count or not values:
        return np.zeros((count, 3))
    points = np.array(_numbers(values, 3 * count, f"list of {count} keypoints (x, y, visibility)", name))
    points = points.reshape(-1, 3)
    points[np.isnan(points[:, 2]), 2] = 0
    if not np.isin(points[:, 2], (0, 1, 2)).all():
        bad = points[~np.isin(points[:, 2], (0, 1, 2))][0, 2]
        raise DataError(f"{name}: expected keypoint visibilities 0, 1 or 2, got {bad:g}.")
    return points


def read_coco(path: Path, names: Sequence[str] | None, report, crowds: bool = True) -> CocoJson:
    """Read an annotation file and check its ids.

    Args:
        path: the file.
        names: the classes in order; by default the categories in the order of their ids.
        report: gets the annotations of images that the file does not list, and the categories that are no classes.
        crowds: as `CocoJson.crowds`.

    Raises:
        DataError: the file is not JSON in COCO's format; an id is not an integer, or occurs twice; an annotation has a
            category that the file or `names` lacks.
    """
    data = _load(path)
    images = _by_id(data["images"], path, "image", text=True)
    categories = _by_id(data["categories"], path, "category")
    used = [entry.get("category_id") for entry in data["annotations"] if isinstance(entry, dict)]
    used = {number for number in used if type(number) is int}  # the rest is an error below
    doubles = _doubles(categories)  # Roboflow exports a set of one class with a super-category of the same name
    for number, name in doubles:
        if number not in used and any(other in used for other, same in doubles if same == name):
            report.noted("second category of the same name, left out because no object has it", f"{number}: {name}")
            del categories[number]
    for number in _roots(categories, used, names or ()):
        what = "category without objects that others name as their supercategory, left out"
        report.noted(what, f"{number}: {categories.pop(number)['name']}")
    category_ids, names = _classes(categories, names, path)
    known = categories.keys() & set(category_ids)
    annotations, seen = {}, set()
    for position, entry in enumerate(data["annotations"]):
        number = entry.get("id", position) if isinstance(entry, dict) else None
        name = f"{path}, annotation {number}"
        if number is not None and (type(number) is not int or (number in seen and "id" in entry)):
            raise DataError(_wrong_id(path, "annotation", number, twice=type(number) is int))
        seen.add(number)
        if number is None or type(entry.get("image_id")) not in (int, str) or type(entry.get("category_id")) is not int:
            raise DataError(f"{name}: expected image_id and category_id that are integers, got {str(entry)[:120]}.")
        if entry["category_id"] not in known:
            raise DataError(_unknown(name, entry["category_id"], categories, names))
        if entry["image_id"] not in images:
            report.skipped("annotation of an image that the file does not list, skipped", name)
        else:
            annotations.setdefault(entry["image_id"], []).append((name, entry))
    lists = [entry["keypoints"] for entry in categories.values() if entry.get("keypoints")]
    if not all(isinstance(points, list) for points in lists):
        raise DataError(f"{path}: expected a list of names as a category's keypoints, got {str(lists)[:80]}.")
    lists = {tuple(map(str, points)) for points in lists}
    if len(lists) > 1:
        raise DataError(f"{path}: expected one list of keypoints for all categories, got {len(lists)} different lists.")
    points = next(iter(lists), ())
    limbs = _limbs((entry.get("skeleton") for entry in categories.values()), len(points), path, report)
    return CocoJson(path, images, annotations, names, category_ids, points, limbs, crowds)


def _limbs(written, count, path, report) -> tuple[tuple[int, int], ...]:
    """The limbs of the first category that has some: pairs of indices, in the file from 1, of some tools from 0."""
    limbs = next((pairs for pairs in written if pairs and isinstance(pairs, list)), [])
    pairs = [tuple(pair) for pair in limbs if isinstance(pair, list) and len(pair) == 2]
    first = 0 if any(0 in pair for pair in pairs) else 1
    ends = [(one - first, other - first) for one, other in pairs if type(one) is type(other) is int]
    kept = [pair for pair in ends if pair[0] != pair[1] and all(0 <= end < count for end in pair)]
    if len(kept) < len(limbs) and count:
        report.noted("limb that is no pair of keypoints, left out", str(path))
    return tuple(kept)


def _load(path) -> dict:
    try:
        data = json.loads(content_of(path))
    except OSError as error:
        raise DataError(f"expected a JSON file, got {path}: {error.strerror or error}.", "annotations") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON, got something else: {error}.") from error
    lacking = [key for key in _TABLES if not isinstance(data, dict) or not isinstance(data.get(key), list)]
    if lacking:
        raise DataError(
            f"{path}: expected COCO's lists {', '.join(_TABLES)}, but {', '.join(lacking)} is missing; "
            "files of captions or results have no boxes to learn from."
        )
    return data


def _by_id(entries, path, kind, text=False) -> dict:
    by_id = {}
    for entry in entries:
        number = entry.get("id") if isinstance(entry, dict) else None
        whole = type(number) is int or (text and isinstance(number, str))
        if not whole or number in by_id:
            raise DataError(_wrong_id(path, kind, number, twice=whole))
        by_id[number] = entry
    return by_id


def _wrong_id(path, kind, number, twice):
    came = f"{number!r} twice" if twice else repr(number)
    return f"{path}: expected a unique integer id for each {kind}, got {came}; renumber them."


def _doubles(categories) -> list[tuple[int, str]]:
    """(id, name) of the categories whose name occurs twice."""
    names = [str(entry.get("name", number)) for number, entry in categories.items()]
    return [(number, name) for number, name in zip(categories, names, strict=True) if names.count(name) > 1]


def _roots(categories, used, names) -> list[int]:
    """The ids of the categories that no object has and others have as supercategory: an export's root, no class."""
    parents = {str(entry["supercategory"]) for entry in categories.values() if entry.get("supercategory")}
    own = {number for number, entry in categories.items() if entry.get("supercategory") == entry.get("name")}
    unused = [number for number in categories if number not in used and number not in own]
    return [n for n in unused if str(categories[n].get("name")) in parents and categories[n].get("name") not in names]


def _classes(categories, names, path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    by_name = {str(categories[number].get("name", number)): number for number in sorted(categories)}
    if not by_name or len(by_name) < len(categories):
        raise DataError(
            f"{path}: expected categories with unique names, got {len(categories)} categories with {len(by_name)} "
            "names; rename the duplicates."
        )
    names = tuple(by_name) if names is None else tuple(map(str, names))
    return tuple(by_name.get(name, -1) for name in names), names


def _unknown(name, number, categories, names):
    if number in categories:
        came = repr(categories[number].get("name", number))
        return f"{name}: expected a category among names ({', '.join(names[:60])}), got {came}; add it to names."
    return f"{name}: expected a category id among {sorted(categories)[:60]}, got {number!r}."
