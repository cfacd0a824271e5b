"""YOLO: a data.yaml, pictures below images, and a text file of boxes for each below labels."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.images import MAX_PIXELS, is_picture_name, list_pictures, read_image
from visiontasks.data.layout import VALIDATION
from visiontasks.data.objects import Objects, usable_boxes
from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Source
from visiontasks.data.yolo_yaml import inside_root, label_file, names_of, only_yaml, place_of, read, root_of
from visiontasks.errors import DataError
from visiontasks.sample import Sample

_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_LISTS = ("classes.txt", "labels/classes.txt", "obj.names")  # of classes, where annotation tools write no data.yaml
_ROUNDING = 1e-3  # of the picture's side: 1.0006 is a rounded 1


class Yolo(Source):
    """Ultralytics' YOLO layout; gives `boxes`, `classes`, `tags` and `label`, and `instance_masks` from polygons.

    Beside images/…/a.jpg lies labels/…/a.txt with a row an object: its class and the box's centre, width and height,
    or its class and a polygon x1 y1 x2 y2 x3 y3 …, all as shares of the picture. A data set is of boxes or of
    polygons. `tags` are the classes present, `label` that of the largest. A picture without rows shows that nothing
    is there. The labels are read anew each time; a .cache beside them is not looked at.

    Args:
        data: the data.yaml, with `names` and, for each part, a folder of pictures, a list of them or both; or a list
            of the classes, such as classes.txt, beside the folder images or in the one beside it.
        split: the part: train, val or test.
        root: the folder that the paths in data.yaml start from and must not leave; by default the file's own.
        names: the classes in their order, in which those of data.yaml are looked up by name, or by number where it
            gives their count alone (nc); by default data.yaml's own.
        max_pixels: larger pictures are skipped.

    Raises:
        DataError: no such file, folder or part, a class number that has no name, a class that `names` lacks, boxes
            mixed with polygons, a row of another number of columns, keypoints, or no object at all; the text names
            file and line. Every row is read once to know this.
    """

    LAYOUT = "YOLO: DIR/data.yaml with names, train and val, or DIR/classes.txt; DIR/images and DIR/labels/*.txt"
    fields = frozenset({"boxes", "classes", "tags", "label", "instance_masks"})

    def __init__(
        self,
        data: str,
        split: str = "train",
        root: str | None = None,
        names: Sequence[str] | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__()
        self.data, self.split, self.max_pixels = Path(data), split, max_pixels
        said = read(self.data)
        self.root = root_of(self.data, said) if root is None else Path(root)
        self._written = names_of(said, self.data)
        self.names = dict.fromkeys(
            ("classes", "tags", "label"), self._written if names is None else tuple(map(str, names))
        )
        self._places = self._find_places(said)
        pictures = self._pictures(said)
        labels = [label_file(path, self.root) for path in pictures]
        self._items, kinds = [], {}
        for path, file, rows in zip(pictures, labels, scan(self._rows, labels, "Checking labels"), strict=True):
            if rows is None:
                self.report.add("picture without a label file, taken to show no object", str(path))
            for line, row in rows or ():
                kinds.setdefault(len(row) > 5, f"{file}, line {line}")
            self._items.append((path, self._objects(file, rows or ())))
        if len(kinds) > 1:
            raise DataError(
                f"{kinds[True]}: expected a box (class and 4 numbers) in each row, or a polygon in each, got a polygon "
                f"here and a box in {kinds[False]}; export the labels as one or the other."
            )
        if not any(len(objects.classes) for _, objects in self._items):
            raise DataError(
                f"{self.data}: nothing to train on: expected label files such as {labels[0]}, got no object for the "
                f"{len(pictures)} pictures." + (f"\n{self.report}" if self.report else "")
            )
        if True not in kinds:
            self.fields = type(self).fields - {"instance_masks"}

    def _find_places(self, said) -> list[int | None]:
        """Of each class number in the label files its place among the names, None where they lack it."""
        names = self.names["classes"]
        if said.get("names") is not None:
            return [names.index(name) if name in names else None for name in self._written]
        if len(names) != len(self._written):
            raise DataError(f"names: expected {len(self._written)}, as {self.data} has, got {len(names)}.")
        return list(range(len(names)))

    def _pictures(self, said) -> list[Path]:
        places = said.get(self.split, said.get("valid") if self.split == "val" else None)
        places = [places] if isinstance(places, str) else places
        if not places or not isinstance(places, list) or not all(isinstance(place, str) for place in places):
            parts = ", ".join(part for part in ("train", *VALIDATION) if said.get(part))
            raise DataError(f"split: expected a part that {self.data} names ({parts or 'none'}), got {self.split!r}.")
        found = {}
        for place in places:
            path = place_of(self.root, place, self.data)
            if path.is_dir():
                found.update(dict.fromkeys(list_pictures(path)))
            elif path.is_file():
                found.update(dict.fromkeys(self._listed(path)))
            else:
                raise DataError(
                    f"{self.data}, {self.split}: expected a folder of pictures or a list of them, got {path}, which is "
                    "neither; mend the path, or set root= (in a command data.train.root=)."
                )
        if not found:
            raise DataError(f"{self.data}, {self.split}: expected pictures in {', '.join(places)}, got none.")
        return list(found)

    def _listed(self, file) -> list[Path]:
        found = []
        for line in filter(None, map(str.strip, file.read_text(encoding="utf-8-sig").splitlines())):
            start = file.parent if line.startswith("./") else self.root
            path = inside_root(start if start.resolve().is_relative_to(self.root.resolve()) else self.root, line, file)
            if path.is_file() and is_picture_name(path.name):
                found.append(path)
            else:
                self.report.add("picture missing, skipped", str(path))
        return found

    def _rows(self, file) -> list[tuple[int, list[float]]] | None:
        """(line, numbers) of each row of a label file, None where there is no file."""
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
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
                self.report.add("row that stands twice in a file, taken once", f"{file}, line {number}")
                continue
            seen.add(tuple(row))
            rows.append((number, row))
        return rows

    def _numbers(self, line, name) -> list[float]:
        try:
            row = [float(cell) for cell in line.split()]
        except ValueError:
            raise DataError(f"{name}: expected numbers, got {line[:80]!r}.") from None
        if len(row) != 5 and (len(row) < 7 or len(row) % 2 == 0 or _has_visibilities(row)):
            raise DataError(
                f"{name}: expected class, x, y, width, height, or class and a polygon x1 y1 x2 y2 x3 y3 …, got "
                f"{len(row)} columns"
                + ("; keypoints are not read from this layout: convert them to COCO's JSON." if len(row) > 6 else ".")
            )
        count = len(self._places)
        if not 0 <= row[0] < count or row[0] != int(row[0]):
            raise DataError(
                f"{name}: expected a class number from 0 to {count - 1}, for {self.data} names {count} classes, got "
                f"{row[0]:g}; name every class there, or mend the row."
            )
        place = self._places[int(row[0])]
        if place is None:
            raise DataError(
                f"{name}: expected classes out of names ({', '.join(self.names['classes'][:60])}), got "
                f"{self._written[int(row[0])]!r}, as {self.data} calls class {row[0]:g}; mend its name there, or add "
                "it to names (in a command data.train.names=[…])."
            )
        return [place, *row[1:]]

    def _objects(self, file, rows) -> Objects:
        """In shares of the picture, which is not opened for this."""
        boxes, names, kept = [], [], []
        for line, row in rows:
            name = f"{file}, line {line}"
            if any(not math.isnan(n) and not -_ROUNDING <= n <= 1 + _ROUNDING for n in row[1:]):
                self.report.add("object with numbers outside [0, 1], skipped", name)
                continue
            kept.append(row)
            names.append(name)
            if len(row) == 5:
                x, y, width, height = row[1:]
                boxes.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
            else:
                points = np.reshape(row[1:], (-1, 2))
                boxes.append([*points.min(axis=0), *points.max(axis=0)])
        boxes, numbers = usable_boxes(np.array(boxes), (1, 1), names, self.report, _ROUNDING)
        rows = [kept[number] for number in numbers]
        polygons = None if any(len(row) == 5 for row in rows) else tuple(row[1:] for row in rows)
        return Objects(boxes, np.array([row[0] for row in rows], np.int32), np.zeros(len(rows), bool), masks=polygons)

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        return self.read(index, self.fields)

    def read(self, index, fields):
        path, shares = self._items[index]
        image = read_image(path, self.report, self.max_pixels)
        masks = "instance_masks" in self.fields and "instance_masks" in fields
        labels = shares.scaled(image.shape[:2]).fields(len(self.names["classes"]), image.shape[:2], masks)
        return Sample(image, **labels, id=path.relative_to(self.root).as_posix(), path=str(path))

    def describe(self, index):
        return str(self._items[index][0])

    @classmethod
    def recognise(cls, root):
        labels = root / "labels"
        lists = _LISTS if labels.is_dir() and (root / "images").is_dir() else ()
        file = next((root / name for name in _FILES if (root / name).is_file()), None) or only_yaml(root)
        file = file or next((root / name for name in lists if (root / name).is_file()), None)
        if file is None:
            return None
        try:
            said = read(file)
        except DataError:
            return None
        if not said.get("train") or not (said.get("names") or said.get("nc")):
            return None
        val = next((part for part in VALIDATION if said.get(part)), None)
        plan = {"train": {"data": str(file), "split": "train"}}
        if val is not None:
            plan["val"] = {"data": str(file), "split": val}
        return plan


def _has_visibilities(row) -> bool:
    """Whether behind a box each third number is 0, 1 or 2, and one of them 2: keypoints, and no polygon."""
    marks = row[7::3]
    return len(row) >= 8 and (len(row) - 5) % 3 == 0 and set(marks) <= {0, 1, 2} and 2 in marks
