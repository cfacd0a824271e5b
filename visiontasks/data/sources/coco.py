"""COCO: a JSON file of boxes, masks and keypoints, and the pictures that it names."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

from visiontasks.data.coco_json import file_names, looks_like_coco, part_of, picture_folder, read_coco
from visiontasks.data.images import MAX_PIXELS, inside, picture_size, read_image
from visiontasks.data.layout import TRAINING, VALIDATION
from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Source
from visiontasks.errors import BadPicture, DataError
from visiontasks.sample import Sample

_MOST_FILES = 50  # a folder of more JSON files holds one a picture, of another form


class Coco(Source):
    """COCO's instances or person_keypoints JSON; gives `boxes`, `classes`, `tags` and `label`.

    Also `instance_masks` where every object has a segmentation, `keypoints` where the categories name them, and what
    scoring needs: `ignored` (iscrowd) and `areas`. A category's number is its place in the order of ids, so that gaps
    close; `tags` are the classes present, `label` that of the largest object not ignored. A listed picture
    without annotations is kept: it shows that nothing is there. Masks are decoded when a sample is read, and not for a
    batch without them.

    Args:
        annotations: the JSON file.
        images: the folder that its file names start from; by default looked for by its name.
        names: the classes in their order; by default the categories in the order of their ids.
        max_pixels: larger pictures are skipped.

    Attributes:
        category_ids: the original id of each class; -1 for one of `names` that the file lacks.
        image_ids: the original id of each picture.

    Raises:
        DataError: no JSON of COCO's form, ids that are not whole or not unique, a picture of another size than the
            JSON says, a segmentation that is none, no picture, or no object but crowds; the text names the file and
            the annotation. Every picture's header is read once to know this.
    """

    LAYOUT = "COCO: DIR/annotations/instances_{train,val}*.json and the pictures in DIR/{train,val}* or DIR/images/…"
    fields = frozenset({"boxes", "classes", "tags", "label", "instance_masks", "keypoints"})

    def __init__(
        self,
        annotations: str,
        images: str | None = None,
        names: Sequence[str] | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__()
        self.max_pixels = max_pixels
        file = read_coco(Path(annotations), names, self.report)
        self.path, self.category_ids = file.path, file.category_ids
        self.names = dict.fromkeys(("classes", "tags", "label"), file.names)
        if file.points:
            self.names["keypoints"] = file.points
        self.root = self._find_root(images, file)
        self._read(file)
        self._choose_fields(file)

    def _find_root(self, images, file) -> Path:
        if images is not None:
            if not Path(images).is_dir():
                raise DataError(f"images: expected a folder, got {images}, which is none.")
            return Path(images)
        names = [str(entry.get("file_name")) for entry in list(file.images.values())[:20]]
        return picture_folder(self.path, names) or self.path.parent

    def _read(self, file):
        listed = [(number, self._path_of(entry)) for number, entry in file.images.items()]
        numbers = {}
        for number, path in listed:
            if numbers.setdefault(path, number) != number:
                raise DataError(
                    f"{self.path}: expected each picture once, got {path} as image {numbers[path]} and {number}; "
                    "objects of the one would be background in the other: give them one image_id."
                )
        self._items, self.image_ids = [], []
        found = scan(lambda item: self._size_of(item[1]), listed, "Checking pictures")
        for (number, path), size in zip(listed, found, strict=True):
            if isinstance(size, BadPicture):
                missing = not os.path.isfile(path)
                self.report.add("picture missing, skipped" if missing else f"{size.reason}, skipped", str(path))
                continue
            self._check_size(file.images[number], path, size)
            self._items.append((path, file.objects(number, size, self.report)))
            self.image_ids.append(number)
        if not self._items:
            shown = f", such as {listed[0][1]}" if listed else ""
            raise DataError(
                f"{self.path}: expected pictures below {self.root}, found none of the {len(listed)} that it "
                f"lists{shown}; set images= (in a command data.train.images=) to the folder that they lie in."
            )
        if all(objects.ignored.all() for _, objects in self._items):
            crowds = sum(len(objects.ignored) for _, objects in self._items)
            came = f"{crowds} crowds and nothing else" if crowds else "none"
            raise DataError(
                f"{self.path}: nothing to train on: expected objects, got {came} in "
                f"{len(self._items)} pictures; set iscrowd to 0 for single objects."
                + (f"\n{self.report}" if self.report else "")
            )

    def _path_of(self, entry) -> Path:
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            raise DataError(f"{self.path}, image {entry['id']}: expected a file_name, got {name!r}.")
        try:
            return inside(self.root, name)
        except DataError as error:
            hint = str(error).replace("root=", "images=")
            raise DataError(f"{self.path}, image {entry['id']}: {hint}") from None

    def _size_of(self, path):
        try:
            return picture_size(path, self.max_pixels)
        except BadPicture as error:
            return error

    def _check_size(self, entry, path, size):
        said = entry.get("height"), entry.get("width")
        if not all(said):
            self.report.add("picture without height and width in the JSON, taken from the file", str(path))
        elif said != size:
            turned = " as if it were not turned upright as its EXIF says" * (said == size[::-1])
            raise DataError(
                f"{self.path}: expected for {path} its height and width {size}, got {said}{turned}; the boxes are of "
                "another picture: annotate this one, or put back the picture that was annotated."
            )

    def _choose_fields(self, file):
        without = sum(mask is None for _, objects in self._items for mask in objects.masks)
        count = sum(len(objects.masks) for _, objects in self._items)
        lacking = set() if file.points else {"keypoints"}
        if without:
            lacking.add("instance_masks")
            if without < count:
                self.report.add(
                    f"file in which {without} of {count} objects have no segmentation, so it gives no masks",
                    str(self.path),
                )
        self.fields = type(self).fields - lacking

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        return self.read(index, self.fields)

    def read(self, index, fields):
        path, objects = self._items[index]
        image = read_image(path, self.report, self.max_pixels)
        masks = "instance_masks" in self.fields and "instance_masks" in fields
        labels = objects.fields(len(self.names["classes"]), image.shape[:2], masks)
        return Sample(image, **labels, id=self._name_of(path), path=str(path))

    def _name_of(self, path) -> str:
        return Path(os.path.relpath(path, self.root)).as_posix()

    @functools.cached_property
    def _numbers(self) -> dict[str, int | str]:
        return {self._name_of(path): number for (path, _), number in zip(self._items, self.image_ids, strict=True)}

    def results(self, sample, found):
        """COCO's form of detection results, under the file's own ids; classes that it lacks are left out."""
        rows = zip(*(found[name] for name in ("boxes", "scores", "classes")), strict=True)
        return [
            {
                "image_id": self._numbers[sample.id],
                "category_id": self.category_ids[number],
                "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
                "score": float(score),
            }
            for (x1, y1, x2, y2), score, number in rows
            if self.category_ids[number] >= 0
        ]

    def describe(self, index):
        return str(self._items[index][0])

    @classmethod
    def recognise(cls, root):
        files = _annotation_files(root)
        train = next((files[part] for part in TRAINING if part in files), None)
        if train is None and len(files) == 1:
            train = next(iter(files.values()))
        val = next((files[part] for part in VALIDATION if part in files), None)
        if train is None:
            return None
        plan = {}
        for part, path in {"train": train, "val": val}.items():
            if path is None or (part == "val" and path == train):
                continue
            images = picture_folder(path, file_names(path))
            if images is not None:
                plan[part] = {"annotations": str(path), "images": str(images)}
        return plan if "train" in plan else None


def _annotation_files(root: Path) -> dict[str, Path]:
    """{part such as "train": file}; instances before keypoints, for they have every class; captions have no boxes."""
    folders = [root, *(p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith("."))]
    tables = (sorted(folder.glob("*.json")) for folder in folders)
    paths = [path for files in tables if len(files) <= _MOST_FILES for path in files]
    paths.sort(key=lambda path: (not path.name.startswith("instances"), "keypoints" in path.name))
    found = {}
    for path in paths:
        part = part_of(path).lower().rstrip("0123456789")
        if part not in found and not path.name.startswith(("captions", ".")) and looks_like_coco(path):
            found[part] = path
    return found
