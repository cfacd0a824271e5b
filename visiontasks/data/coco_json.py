"""An annotation file of COCO's form: read, checked, and sorted by picture."""

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from visiontasks.data import segmentations
from visiontasks.data.images import inside
from visiontasks.data.layout import TRAINING, VALIDATION
from visiontasks.data.objects import Objects, usable_boxes
from visiontasks.errors import DataError

_TABLES = ("images", "annotations", "categories")
_PART = re.compile(rf"(?:^|[._-])((?:{'|'.join((*TRAINING, *VALIDATION))})\d*)(?=[._-]|$)", re.IGNORECASE)
_KIND = re.compile(r"^_|(instances|person_keypoints|annotations?|coco)[._-]*", re.IGNORECASE)
_HEAD = 2**20  # bytes: enough of a file to know what it is and, nearly always, the name of a picture


@dataclasses.dataclass(frozen=True)
class CocoJson:
    """What an annotation file says, its ids checked.

    Args:
        path: the file.
        images: {image id: its entry}.
        annotations: {image id: [(name for errors, entry)]}.
        names: the classes, by default in the order of the category ids.
        category_ids: the original id of each class; -1 for one that the file lacks.
        points: the names of the keypoints, or () where no category has any.
    """

    path: Path
    images: dict
    annotations: dict
    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    points: tuple[str, ...]

    def objects(self, image_id, size: tuple[int, int], report) -> Objects:
        """The objects of a picture of that (height, width); what cannot be used is reported.

        Raises:
            DataError: an annotation of another form than COCO's; the text names file and annotation.
        """
        try:
            return self._objects(
                [Entry(self, *pair, size) for pair in self.annotations.get(image_id, ())], size, report
            )
        except OverflowError as error:
            raise DataError(f"{self.path}, annotations of image {image_id}: {error}; mend that number.") from error

    def _objects(self, entries, size, report) -> Objects:
        for entry in entries:
            if entry.mask == []:
                report.add("polygon of fewer than 3 points, object skipped", entry.name)
            elif entry.box is None:
                report.add("object with neither box nor segmentation, skipped", entry.name)
        entries = [entry for entry in entries if entry.mask != [] and entry.box is not None]
        boxes, kept = usable_boxes([e.box for e in entries], size, [e.name for e in entries], report)
        entries = [entries[number] for number in kept]
        return Objects(
            boxes,
            np.array([entry.number for entry in entries], np.int32),
            np.array([entry.crowd for entry in entries], bool),
            np.array([entry.area for entry in entries], np.float32),
            np.array([entry.points for entry in entries], np.float32).reshape(-1, len(self.points), 3)
            if self.points
            else None,
            tuple(entry.mask for entry in entries),
        )


class Entry:
    """One annotation in this package's form: `box` (or None), `number` of its class, `crowd`, `area`, `mask`, `points`.

    Raises:
        DataError: as `CocoJson.objects`.
    """

    def __init__(self, file: CocoJson, name: str, entry: dict, size: tuple[int, int]):
        self.name, self.crowd = name, entry.get("iscrowd") in (1, "1")
        self.number = file.category_ids.index(entry["category_id"])
        written = _numbers(entry.get("bbox"), 4, "bbox [x, y, width, height]", name)
        self.mask = segmentations.check(entry.get("segmentation"), size, name, written)
        self.box = None
        if written:
            x, y, width, height = written
            self.box = [x, y, x + width, y + height]
        elif self.mask:
            self.box = segmentations.extent(self.mask)
        self.points = _points(entry.get("keypoints"), len(file.points), name)
        area = entry.get("area")
        if isinstance(area, (int, float)) and 0 <= area < math.inf:
            self.area = area
        elif self.points[:, 2].any() and not self.crowd:
            raise DataError(
                f"{name}: expected an area beside its keypoints, by which they are scored, got {area!r}; write the "
                "object's area in pixels², or about half of its box's."
            )
        elif self.mask:
            self.area = segmentations.area(self.mask, size)
        else:
            self.area = (self.box[2] - self.box[0]) * (self.box[3] - self.box[1]) if self.box else 0
            self.area = self.area if 0 <= self.area < math.inf else 0  # such a box is skipped


def _numbers(values, count, what, name) -> list[float] | None:
    if values is None or values == []:
        return None
    if not isinstance(values, list) or len(values) != count or not all(isinstance(v, (int, float)) for v in values):
        raise DataError(f"{name}: expected a {what} of {count} numbers, got {str(values)[:80]}.")
    return [float(value) for value in values]


def _points(values, count, name) -> np.ndarray:
    """float32 (K, 3), zeros where nothing was labelled; num_keypoints is not believed."""
    if not count or not values:
        return np.zeros((count, 3), np.float32)
    found = np.array(_numbers(values, 3 * count, f"list of {count} keypoints (x, y, visibility)", name), np.float32)
    found = found.reshape(-1, 3)
    found[~np.isfinite(found).all(axis=1)] = 0
    if not np.isin(found[:, 2], (0, 1, 2)).all():
        bad = found[~np.isin(found[:, 2], (0, 1, 2))][0, 2]
        raise DataError(f"{name}: expected keypoint visibilities 0, 1 or 2, got {bad:g}.")
    found[found[:, 2] == 0] = 0
    return found


def read_coco(path: Path, names: Sequence[str] | None, report) -> CocoJson:
    """The annotation file, its ids checked.

    Args:
        path: the file.
        names: the classes in their order; by default the categories in the order of their ids.
        report: gets the annotations of pictures that the file does not list.

    Raises:
        DataError: no JSON of COCO's form; ids that are no whole numbers, or one of them twice; an annotation of a
            category that the file or `names` lacks.
    """
    data = _load(path)
    images = _by_id(data["images"], path, "image", text=True)
    categories = _by_id(data["categories"], path, "category")
    used = [entry.get("category_id") for entry in data["annotations"] if isinstance(entry, dict)]
    used = {number for number in used if type(number) is int}  # others are told of below
    doubles = _doubles(categories)  # as Roboflow exports a set of one class, once as its super-category
    for number, name in doubles:
        if number not in used and any(other in used for other, same in doubles if same == name):
            report.add("category of a name that stands twice, left out since no object has it", f"{number}: {name}")
            del categories[number]
    category_ids, names = _classes(categories, names, path)
    annotations, seen = {}, set()
    for position, entry in enumerate(data["annotations"]):
        number = entry.get("id", position) if isinstance(entry, dict) else None
        name = f"{path}, annotation {number}"
        if number is not None and (type(number) is not int or (number in seen and "id" in entry)):
            raise DataError(_wrong_id(path, "annotation", number, twice=type(number) is int))
        seen.add(number)
        if number is None or type(entry.get("image_id")) not in (int, str) or type(entry.get("category_id")) is not int:
            raise DataError(
                f"{name}: expected image_id and category_id that are whole numbers, got {str(entry)[:120]}."
            )
        if entry["category_id"] not in categories or entry["category_id"] not in category_ids:
            raise DataError(_unknown(name, entry["category_id"], categories, names))
        if entry["image_id"] not in images:
            report.add("annotation of a picture that the file does not list, skipped", name)
        else:
            annotations.setdefault(entry["image_id"], []).append((name, entry))
    lists = [entry["keypoints"] for entry in categories.values() if entry.get("keypoints")]
    if not all(isinstance(points, list) for points in lists):
        raise DataError(f"{path}: expected a list of names as a category's keypoints, got {str(lists)[:80]}.")
    lists = {tuple(map(str, points)) for points in lists}
    if len(lists) > 1:
        raise DataError(f"{path}: expected one list of keypoints for all categories, got {len(lists)} different ones.")
    return CocoJson(path, images, annotations, names, category_ids, next(iter(lists), ()))


def _load(path) -> dict:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"annotations: expected a JSON file, got {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON, got something else: {error}.") from error
    lacking = [key for key in _TABLES if not isinstance(data, dict) or not isinstance(data.get(key), list)]
    if lacking:
        raise DataError(
            f"{path}: expected COCO's lists {', '.join(_TABLES)}, got none called {', '.join(lacking)}; "
            "captions and result files have no boxes to learn from."
        )
    return data


def _by_id(entries, path, kind, text=False) -> dict:
    found = {}
    for entry in entries:
        number = entry.get("id") if isinstance(entry, dict) else None
        whole = type(number) is int or (text and isinstance(number, str))
        if not whole or number in found:
            raise DataError(_wrong_id(path, kind, number, twice=whole))
        found[number] = entry
    return found


def _wrong_id(path, kind, number, twice):
    came = f"{number!r} twice" if twice else repr(number)
    return f"{path}: expected an id that is a whole number for each {kind}, each once, got {came}; number them anew."


def _doubles(categories) -> list[tuple[int, str]]:
    """(id, name) of the categories whose name stands twice."""
    names = [str(entry.get("name", number)) for number, entry in categories.items()]
    return [(number, name) for number, name in zip(categories, names, strict=True) if names.count(name) > 1]


def _classes(categories, names, path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    by_name = {str(categories[number].get("name", number)): number for number in sorted(categories)}
    if not by_name or len(by_name) < len(categories):
        raise DataError(
            f"{path}: expected categories, each with a name of its own, got {len(categories)} with {len(by_name)} "
            "names; rename the doubles."
        )
    names = tuple(by_name) if names is None else tuple(map(str, names))
    return tuple(by_name.get(name, -1) for name in names), names


def _unknown(name, number, categories, names):
    if number in categories:
        came = repr(categories[number].get("name", number))
        return f"{name}: expected a category out of names ({', '.join(names[:60])}), got {came}; add it to names."
    return f"{name}: expected a category id out of {sorted(categories)[:60]}, got {number!r}."


# which files these are, and where their pictures lie


def looks_like_coco(path: Path) -> bool:
    """Whether a file seems to list pictures and objects as COCO does, judged by its beginning."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") and bool(
        re.search(rb'"(images|annotations|categories)"\s*:\s*\[', head)
    )


def file_names(path: Path) -> list[str]:
    """Some of the picture names in a file, without parsing the whole of it."""
    with open(path, "rb") as file:
        text = file.read(_HEAD)
        pattern = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)+")')
        found = pattern.findall(text) or pattern.findall(text + file.read())
    return [json.loads(name) for name in found[:20]]


def picture_folder(path: Path, names: Iterable[str]) -> Path | None:
    """The folder from which the picture names of an annotation file lead to files, or None.

    For annotations/instances_train2017.json that is train2017, train, images/train2017, images/train, images, or the
    folder itself, looked for beside the folder of annotations first.
    """
    part = part_of(path)
    bare = part.rstrip("0123456789")
    home = path.parent
    roots = (home.parent, home) if home.name.lower().startswith("annotation") else (home,)
    names = list(names)
    for root in roots:
        for place in (part, bare, f"images/{part}", f"images/{bare}", "images", "JPEGImages", ""):
            if any(_leads_to_file(root / place, name) for name in names):
                return root / place
    return None


def part_of(path: Path) -> str:
    """train2017 of instances_train2017.json; train of train/_annotations.coco.json."""
    known = _PART.search(path.stem)
    return known[1] if known else _KIND.sub("", path.stem) or path.parent.name


def _leads_to_file(folder, name) -> bool:
    try:
        return inside(folder, name).is_file()
    except (DataError, OSError, ValueError):
        return False
