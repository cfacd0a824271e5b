"""YOLO: a data.yaml or a list of classes, images, and one text file of labels per image."""

import collections
import math
import os
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.arguments import Pixels
from visiontasks.data.box_formats import CENTERS, check_format
from visiontasks.data.finding import Finder
from visiontasks.data.images import MAX_PIXELS, is_image_name, list_images
from visiontasks.data.layout import split_folders
from visiontasks.data.listing import files_like
from visiontasks.data.objects import Objects, usable_boxes, usable_points
from visiontasks.data.scan import scan
from visiontasks.data.sources.source import ObjectFiles
from visiontasks.data.text import content_of, decode, read_lines
from visiontasks.data.yolo_keypoints import row_points, skeleton_in
from visiontasks.data.yolo_labels import Labels, labeled, without_images
from visiontasks.data.yolo_yaml import SPLITS, SUFFIXES, locate, names_of, only_yaml, plan_of, read, root_of
from visiontasks.errors import DataError

_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
# of tools that write no data.yaml: CVAT's and darknet's list of lists, and lists of classes
_LISTS = ("classes.txt", "labels/classes.txt", "images/classes.txt", "classes.names", "_darknet.labels")
_ROUNDING = 1e-3  # of the image's width or height: 1.0006 is a rounded 1


class Yolo(ObjectFiles):
    """Ultralytics' YOLO layout; gives `boxes`, `classes`, `tags`, `label`, and `instance_masks` and `mask` of polygons.

    For images/…/a.jpg, labels/…/a.txt, or a.txt beside a.jpg, has one row per object: its class and the box's center,
    width and height, or its class and a polygon x1 y1 x2 y2 x3 y3 …, all as shares of the image. A data set may have
    both: an object without a polygon has no mask. `tags` are the classes present, `label` is the class of the largest
    object. An image without rows is an image without objects; one whose rows are all unusable is left out. The labels
    are always read from the text files; a .cache beside them is not used.

    If data.yaml has kpt_shape, the box is followed by keypoints, and the source gives `keypoints`: K times x, y and
    visibility 0, 1 or 2 with kpt_shape: [K, 3]; with [K, 2] only x, y, where 0 0 is not labeled. flip_idx gives left
    and right, kpt_names the names, kpt_oks_sigmas the sigmas of OKS.

    Args:
        data: the data.yaml, with `names` and, for each split, a folder of images, a list of them or both; darknet's and
            CVAT's obj.data; or a list of the classes, such as classes.txt or obj.names, beside the images or their
            folder, or in the labels folder. Splits that it lacks are looked for beside it.
        split: train, val or test.
        root: the folder that the paths in data.yaml are relative to and must not leave; by default the file's folder.
        names: the classes in order; data.yaml's classes are matched to them by name, or by index if data.yaml has only
            their count (nc). By default data.yaml's own. A class that data.yaml does not name is not `known`.
        max_pixels: larger images are skipped.
        skeleton: of the keypoints: a mapping with any of keypoints (names), limbs, pairs (left, right) and sigmas (of
            OKS), or a YAML file with one; it comes before what data.yaml says.

    Raises:
        DataError: a file, folder or split is missing, a class index has no name, `names` lacks a class, a row has
            another number of columns, most boxes look wrong, such as pixels, kpt_shape or flip_idx is wrong, or there
            is no object; the text names the file and the line. To check this, every row is read once.
    """

    LAYOUT = (
        "YOLO: DIR/data.yaml with names, train and val, or DIR/obj.data, or DIR/classes.txt; DIR/images and "
        "DIR/labels/*.txt, or images and label files in one folder"
    )
    fields = ObjectFiles.fields | {"instance_masks", "mask", "keypoints"}

    def __init__(
        self,
        data: str,
        split: str = "train",
        root: str | None = None,
        names: Sequence[str] | None = None,
        max_pixels: Pixels = MAX_PIXELS,
        skeleton: str | dict | None = None,
    ):
        super().__init__()
        self.data, self.split, self.max_pixels = Path(data), split, max_pixels
        content = read(self.data)
        self.root = root_of(self.data, content) if root is None else Path(root)
        self._written = names_of(content, self.data)
        listed = None if content.get("names") is None else self._written
        self.name_classes(self._written if names is None else names, listed)
        self._indices = self._class_indices(content)
        self._points = row_points(content, self.data)
        if self._points:
            self.names["keypoints"] = skeleton_in(content, self._points.count, self.data, skeleton, self.report)
        else:
            self.fields -= {"keypoints"}
        self._read(self._images(content))

    def _read(self, images):
        finder = Labels(self.root, self.report)
        labels = list(map(finder.of, images))
        shared = collections.Counter(labels)
        self.items, written, boxes, polygons = [], array("d"), 0, {}
        for path, file, rows in zip(images, labels, scan(self._rows, labels, "Checking labels"), strict=True):
            if rows is None:
                self.report.noted("image without a label file, used as an image without objects", str(path))
            elif shared[file] > 1:
                self.report.noted("image with the label file of another of its name, as a.jpg and a.png", str(path))
            for _, row in rows or ():
                if len(row) == 5 or self._points:
                    boxes += 1
                    written.extend(row[1:5])
                else:
                    polygons[file] = polygons.get(file, 0) + 1
                    written.extend(_center_and_size(row[1:]))
            objects = self._objects(file, rows or ())
            if self.usable(len(rows or ()), objects, path):
                self.items.append((path, objects))
        check_format(np.reshape(written, (-1, 4)), (), CENTERS, self.data, shares=True)
        if self._whole:
            for file in finder.without_image(labels):
                self.report.skipped("label file without an image, not used", str(file))
        self.check_objects(self.data, f"label files such as {labels[0]} with objects")
        if not polygons:
            self.without_masks()
        elif boxes:
            count = boxes + sum(polygons.values())
            what = f"files in which {boxes} of {count} objects have no polygon: of those only the box is learned"
            self.report.noted(what, str(self.data))

    def _class_indices(self, content) -> list[int | None]:
        """The index in `names` of each class in the label files; None if `names` lacks it."""
        names = self.names["classes"]
        if content.get("names") is not None:
            return [names.index(name) if name in names else None for name in self._written]
        if len(names) != len(self._written):
            raise DataError(f"expected {len(self._written)}, as {self.data} has, got {len(names)}.", "names")
        return list(range(len(names)))

    def _images(self, content) -> list[Path]:
        entries = content.get(self.split, content.get("valid") if self.split == "val" else None)
        entries = [entries] if isinstance(entries, str) else entries
        if not entries or not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            splits = ", ".join(split for split in SPLITS if content.get(split))
            raise DataError(f"expected a split of {self.data} ({splits or 'none'}), got {self.split!r}.", "split")
        images, self._whole = {}, True  # of a list, other label files are those of other splits
        for entry in entries:
            path = locate(self.root, entry, self.data)
            self._whole = self._whole and path.is_dir()
            if path.is_dir():
                images.update(dict.fromkeys(list_images(path, report=self.report)))
            elif path.is_file():
                images.update(dict.fromkeys(self._listed(path)))
            else:
                raise DataError(
                    f"{self.data}, {self.split}: expected a folder of images or a list of them, got {path}, which does "
                    "not exist; correct the path, or give the folder that it is in.",
                    "root",
                )
        if not images:
            raise DataError(f"{self.data}, {self.split}: expected images in {', '.join(entries)}, got none.")
        return list(images)

    def _listed(self, file) -> list[Path]:
        """The images in a list; ./ begins at the list's folder, the rest in the root."""
        finder, here = Finder(self.root, self.report), os.path.relpath(file.parent, self.root)
        lines = read_lines(file, "a list of images")
        found = [finder.find(f"{here}/{line}" if line.startswith("./") else line, file, "root") for line in lines]
        images = [path for path in found if path is not None]
        if lines and not images:
            raise finder.none_found(file, lines)
        return images

    def _rows(self, file) -> list[tuple[int, list[float]]] | None:
        """(line, numbers) of each row of a label file; None if the file does not exist, or is a pipe."""
        if file.is_fifo():
            return None
        try:
            lines = decode(content_of(file)).splitlines()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: expected rows of numbers, got: {error}.") from error
        rows, seen = [], set()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            row = self._numbers(line, f"{file}, line {number}")
            if tuple(row) in seen:
                self.report.noted("row that occurs twice in a file, used once", f"{file}, line {number}")
                continue
            seen.add(tuple(row))
            rows.append((number, row))
        return rows

    def _numbers(self, line, name) -> list[float]:
        try:
            row = [float(cell) for cell in line.split()]
        except ValueError:
            raise DataError(f"{name}: expected numbers, got {line[:80]!r}; separate them by spaces.") from None
        if self._points:
            self._points.check(row, name)
        elif len(row) != 5 and (len(row) < 7 or len(row) % 2 == 0 or _has_visibilities(row)):
            raise DataError(
                f"{name}: expected class, x, y, width, height, or class and a polygon x1 y1 x2 y2 x3 y3 …, got "
                f"{len(row)} columns"
                + ("; for keypoints write kpt_shape: [their number, 3] into data.yaml." if len(row) > 6 else "")
                + ("; the sixth seems to be a confidence, as in predictions: leave it out." if len(row) == 6 else "")
            )
        count = len(self._indices)
        if not 0 <= row[0] < count or row[0] != int(row[0]):
            raise DataError(
                f"{name}: expected a class index from 0 to {count - 1}, because {self.data} names {count} classes, got "
                f"{row[0]:g}; name every class there, or correct the row."
            )
        index = self._indices[int(row[0])]
        if index is None:
            raise DataError(
                f"{name}: expected a class among names ({', '.join(self.names['classes'][:60])}), got "
                f"{self._written[int(row[0])]!r}, the name of class {row[0]:g} in {self.data}; correct that name, or "
                "add it to names.",
                "names",
            )
        return [index, *row[1:]]

    def _objects(self, file, rows) -> Objects:
        """The objects, in shares of the image, so that the image need not be opened."""
        boxes, names, kept = [], [], []
        for line, row in rows:
            name = f"{file}, line {line}"
            if any(
                not math.isnan(n) and not -_ROUNDING <= n <= 1 + _ROUNDING
                for n in (row[1:5] if self._points else row[1:])
            ):
                self.report.skipped("object with numbers outside [0, 1], skipped", name)
                continue
            kept.append(row)
            names.append(name)
            if len(row) == 5 or self._points:
                x, y, width, height = row[1:5]
                boxes.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
            else:
                points = np.reshape(row[1:], (-1, 2))
                boxes.append([*points.min(axis=0), *points.max(axis=0)])
        boxes, numbers = usable_boxes(np.array(boxes), (1, 1), names, self.report, _ROUNDING)
        rows, names = [kept[number] for number in numbers], [names[number] for number in numbers]
        classes, ignored = np.array([row[0] for row in rows], np.int32), np.zeros(len(rows), bool)
        if self._points:
            points = np.array([self._points.of(row) for row in rows], np.float32).reshape(-1, self._points.count, 3)
            points = usable_points(points, (1, 1), names, self.report, _ROUNDING)
            return Objects(boxes, classes, ignored, keypoints=points)
        polygons = tuple(None if len(row) == 5 else [array("d", row[1:])] for row in rows)
        return Objects(boxes, classes, ignored, masks=polygons)

    def labels(self, shares, size, fields):
        return super().labels(shares.scaled(size), size, fields)

    @classmethod
    def recognize(cls, root):
        files = [root / name for name in _FILES]
        files += [only_yaml(root), *files_like(root, "*.data"), *(root / name for name in _LISTS), root / "obj.names"]
        reason = (
            f"{root} has images and label files, but not one list of classes: add data.yaml with names, or classes.txt "
            "with a name a line, or give the file that lists them"
        )
        for file in files:
            if file is not None and file.is_file():
                try:
                    if plan := plan_of(file):
                        return plan
                except DataError as error:
                    reason = str(error)
        # Roboflow's darknet export has a list of classes in each split
        plans = {split: cls.recognize(folder) for split, folder in split_folders(root).items() if folder != root}
        if isinstance(plans.get("train"), dict):
            return {split: plan["train"] for split, plan in plans.items() if isinstance(plan, dict)}
        if ((root / "labels").is_dir() or _has_images(root)) and labeled(root):
            return reason
        return f"{root} has label files, but no images; lay them into a folder images" if without_images(root) else None

    @classmethod
    def recognize_file(cls, path, wanted):
        if path.suffix not in (*SUFFIXES, ".data", ".names", ".txt", ".labels"):
            return None
        try:
            return plan_of(path) or f"{path} has no split or no names"
        except DataError as error:
            return str(error)


def _has_images(folder: Path) -> bool:
    return any(is_image_name(path.name) for path in folder.iterdir())


def _center_and_size(polygon) -> tuple[float, float, float, float]:
    xs, ys = polygon[::2], polygon[1::2]
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, max(xs) - min(xs), max(ys) - min(ys)


_NEAR = 0.01  # of the image: keypoints may lie a little outside of their box


def _has_visibilities(row) -> bool:
    """Whether every third number after a box is 0, 1 or 2: keypoints, not a polygon.

    A polygon may have corners of the image at these places. Then no number is 2, and hardly all points lie in the box
    that its first two points would be.
    """
    marks = row[7::3]
    if len(row) < 8 or (len(row) - 5) % 3 or not set(marks) <= {0, 1, 2}:
        return False
    x, y, width, height = row[1:5]
    labeled = [point for *point, mark in zip(row[5::3], row[6::3], marks, strict=True) if mark]
    within = (abs(at - x) <= width / 2 + _NEAR and abs(to - y) <= height / 2 + _NEAR for at, to in labeled)
    return 2 in marks or len(marks) > 1 and bool(labeled) and all(within)
