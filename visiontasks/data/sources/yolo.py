"""YOLO: a data.yaml, pictures below images, and a text file of boxes for each below labels."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from visiontasks.data.images import MAX_PIXELS, inside, is_picture_name, list_pictures, read_image
from visiontasks.data.layout import VALIDATION, part_folders, read_names
from visiontasks.data.objects import Objects, usable_boxes
from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Source
from visiontasks.errors import DataError
from visiontasks.sample import Sample

_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_LISTS = ("classes.txt", "labels/classes.txt", "obj.names")  # of classes, where annotation tools write no data.yaml
_ROUNDING = 1e-3  # of the picture's side: 1.0006 is a rounded 1
_MOST_BYTES = 2**20  # of a data.yaml; class names need no more


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
        said = _read(self.data)
        self.root = _root_of(self.data, said) if root is None else Path(root)
        self._written = _names_of(said, self.data)
        self.names = dict.fromkeys(
            ("classes", "tags", "label"), self._written if names is None else tuple(map(str, names))
        )
        self._places = self._find_places(said)
        pictures = self._pictures(said)
        labels = [_label_file(path, self.root) for path in pictures]
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
            path = _place(self.root, place, self.data)
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
            path = _inside(start if start.resolve().is_relative_to(self.root.resolve()) else self.root, line, file)
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
        file = next((root / name for name in (*_FILES, *lists) if (root / name).is_file()), None)
        if file is None:
            return None
        try:
            said = _read(file)
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


def _read(file: Path) -> dict:
    """What a data.yaml says, or would say of a list of classes beside the folder images."""
    if file.suffix not in (".txt", ".names"):
        return _read_yaml(file)
    root = file.parent if (file.parent / "images").is_dir() else file.parent.parent
    if not (root / "images").is_dir():
        raise DataError(f"data: expected a folder images beside {file}, or beside its folder; got none.")
    try:
        names = list(read_names(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data: expected a list of classes such as classes.txt, got {file}: {error}.") from error
    parts = part_folders(root / "images")
    places = {part: folder.relative_to(root).as_posix() for part, folder in parts.items()}
    return {"names": names, **places, **({} if root == file.parent else {"path": ".."})}


def _read_yaml(file: Path) -> dict:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise DataError(f"data: expected a data.yaml of at most {_MOST_BYTES} bytes, got {file}.")
        said = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"data: expected a YAML file such as data.yaml, got {file}: {error}.") from error
    if not isinstance(said, dict):
        raise DataError(f"{file}: expected names, train and val, got {type(said).__name__}.")
    if said.get("kpt_shape"):
        raise DataError(f"{file}: expected boxes or polygons, got keypoints (kpt_shape); convert them to COCO's JSON.")
    return said


def _root_of(file: Path, said: dict) -> Path:
    """The folder that the paths start from: the file's own, or `path` where that lies in it."""
    place = said.get("path")
    # Ultralytics looks in its own folder of data sets: a path that leads nowhere from here is not meant from here
    if not isinstance(place, str) or not (file.parent / place).is_dir():
        return file.parent
    if file.suffix not in (".yaml", ".yml"):  # of our own saying
        return (file.parent / place).resolve()
    return _inside(file.parent, place, file)


def _place(root: Path, place: str, file: Path) -> Path:
    if place.startswith("../") and (root / place[3:]).exists():  # Roboflow writes ../train/images for train/images
        place = place[3:]
    return _inside(root, place, file)


def _inside(root, name, file) -> Path:
    try:
        path = inside(root, name)
        # below the root by name too, since a label's place follows from its picture's below the root
        return root / path.resolve().relative_to(root.resolve()) if Path(name).is_absolute() else path
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def _names_of(said, file) -> tuple[str, ...]:
    listed, count = said.get("names"), said.get("nc")
    if isinstance(listed, dict):
        if sorted(listed, key=str) != sorted(range(len(listed)), key=str):
            raise DataError(f"{file}: expected names numbered 0, 1, … without gaps, got {list(listed)[:60]}.")
        listed = [listed[number] for number in range(len(listed))]
    if listed is None and type(count) is int and count > 0:
        listed = [str(number) for number in range(count)]
    if not isinstance(listed, list) or not listed or len(set(map(str, listed))) < len(listed):
        raise DataError(f"{file}: expected names, a list of different class names, got {str(listed)[:80]}.")
    if count is not None and count != len(listed):
        raise DataError(f"{file}: expected as many names as nc, got nc: {count} and {len(listed)} names.")
    return tuple(map(str, listed))


def _label_file(picture: Path, root: Path) -> Path:
    """labels/…/a.txt of images/…/a.jpg: the last folder called images, below the root, counts."""
    parts = list(picture.relative_to(root).parts)
    places = [number for number, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")
