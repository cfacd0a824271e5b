"""COCO: a JSON file of boxes, masks and keypoints, and the images that it names."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from visiontasks.arguments import Pixels
from visiontasks.data.coco_files import (
    file_names,
    has_all_lists,
    image_folder,
    is_labeled,
    is_panoptic,
    looks_like_coco,
    name_of,
    split_of,
    unlabeled_beside,
    unlike_coco,
)
from visiontasks.data.coco_json import read_coco
from visiontasks.data.finding import SHOWN, Finder
from visiontasks.data.images import MAX_PIXELS, image_size
from visiontasks.data.layout import TRAINING, VALIDATION, folders_in
from visiontasks.data.listing import files_like
from visiontasks.data.skeletons import skeleton_of
from visiontasks.data.sources.source import ObjectFiles
from visiontasks.errors import DataError

_MOST_FILES = 50  # a folder with more JSON files has one per image, in another format


class Coco(ObjectFiles):
    """COCO's instances or person_keypoints JSON; gives `boxes`, `classes`, `tags` and `label`.

    Also `instance_masks` and, derived from them, `mask` (0 background, then the classes) if objects have segmentations,
    `keypoints` if the categories name them, and what scoring needs: `ignored` (iscrowd) and `areas`. The class index of
    a category is its rank by id, so gaps close; a category without objects that others name as their supercategory,
    an export's root, is left out. `tags` are the classes present, `label` is the class of the largest object that is
    not ignored. A listed image without annotations is kept, as an image without objects; one whose annotations are all
    unusable is left out. Of a file whose annotations have a category alone only `tags` are given, and `label` if no
    image has several. CVAT's turned boxes become the upright boxes around them. A polygon becomes pixels only where a
    batch needs them.

    Args:
        annotations: the JSON file.
        images: the folder that the file names are relative to; by default it is searched for by name.
        names: the classes in order; by default the categories in the order of their ids. A class that is no category
            of the file is not `known` in its images.
        max_pixels: larger images are skipped.
        skeleton: of the keypoints: a mapping with any of keypoints (names), limbs, pairs (left, right) and sigmas (of
            OKS), or a YAML file with one. By default the file's names and limbs, pairs by names such as left_hip, and
            COCO's sigmas by name.
        crowd: what objects of iscrowd 1 are: "ignore", regions that are ignored, as in COCO; "objects", as a tool that
            exports every brushed mask so means them.

    Attributes:
        category_ids: the original id of each class; -1 for one of `names` that the file lacks.
        image_ids: the original id of each image.

    Raises:
        DataError: the file is not JSON in COCO's format, an id is not an integer or not unique, an image has another
            size than the JSON says, a segmentation is invalid, most boxes look wrong, or there is no image, or no
            object but crowds; the text names the file and the annotation. To check this, every image's header is read
            once.
    """

    LAYOUT = (
        "COCO: DIR/annotations/instances_{train,val}*.json and the images in DIR/{train,val}* or DIR/images/…; or a "
        "JSON file beside them, such as DIR/labels.json and DIR/data, also in DIR/train and DIR/val"
    )
    fields = ObjectFiles.fields | {"instance_masks", "mask", "keypoints"}

    def __init__(
        self,
        annotations: str,
        images: str | None = None,
        names: Sequence[str] | None = None,
        max_pixels: Pixels = MAX_PIXELS,
        skeleton: str | dict | None = None,
        crowd: Literal["ignore", "objects"] = "ignore",
    ):
        super().__init__()
        self.max_pixels = max_pixels
        file = read_coco(Path(annotations), names, self.report, crowds=crowd == "ignore")
        self.path, self.category_ids = file.path, file.category_ids
        listed = [name for name, number in zip(file.names, file.category_ids, strict=True) if number >= 0]
        self.name_classes(file.names, listed)
        if file.points:
            self.names["keypoints"] = skeleton_of(skeleton, file.points, self.report, file.path, limbs=file.limbs)
        self.root = self._find_root(images, file)
        self._read(file)
        self._choose_fields(file)
        if file.of_images:
            self.only_classes()
        for path in unlabeled_beside(self.path):
            self.report.noted("COCO file of a test set without annotations, not used", str(path))

    def _find_root(self, images, file) -> Path:
        if images is not None:
            if not Path(images).is_dir():
                raise DataError(f"expected a folder, got {images}, which is not a folder.", "images")
            return Path(images)
        names = [str(name_of(entry)) for entry in list(file.images.values())[:20]]
        return image_folder(self.path, names) or self.path.parent

    def _read(self, file):
        finder, named, numbers = Finder(self.root, self.report), list(map(self._name_of, file.images.values())), {}
        where = [f"{self.path}, image {number}" for number in file.images]
        paths = [finder.find(name, place, "images") for name, place in zip(named, where, strict=True)]
        listed = [pair for pair in zip(file.images, paths, strict=True) if pair[1] is not None]
        for number, path in listed:
            if numbers.setdefault(path, number) != number:
                raise DataError(
                    f"{self.path}: expected each image once, got {path} as image {numbers[path]} and {number}; "
                    "objects of the one would be background in the other: give them one image_id."
                )
        self.items, self.image_ids = [], []
        found = list(self.readable(lambda item: image_size(item[1], self.max_pixels), listed))
        if not found:
            raise finder.none_found(self.path, named, "images")
        for (number, path), size in found:
            entry = file.images[number]
            self.check_size(self.path, path, (entry.get("height"), entry.get("width")), size)
        file.check_boxes({number: size for (number, _), size in found})
        for (number, path), size in found:
            objects = file.objects(number, size, self.report)
            if self.usable(len(file.annotations.get(number, ())), objects, path):
                self.items.append((path, objects))
                self.image_ids.append(number)
        self.check_objects(self.path, ignored="crowds", fix="if they are single objects, set crowd=objects")

    def _name_of(self, entry) -> str:
        name = name_of(entry)
        if not isinstance(name, str) or not name:
            raise DataError(f"{self.path}, image {entry['id']}: expected a file_name, got {name!r}.")
        return name

    def _choose_fields(self, file):
        without = sum(mask is None for _, objects in self.items for mask in objects.masks)
        count = sum(len(objects.masks) for _, objects in self.items)
        if not file.points:
            self.fields -= {"keypoints"}
        if without == count:
            self.without_masks()
        elif without:
            what = f"file in which {without} of {count} objects have no segmentation: of those only the box is learned"
            self.report.noted(what, str(self.path))

    @functools.cached_property
    def _numbers(self) -> dict[str, int | str]:
        return {self.id_of(path): number for (path, _), number in zip(self.items, self.image_ids, strict=True)}

    def results(self, sample, detections):
        """Detections in COCO's results format, with the file's ids; classes that the file lacks are left out.

        With masks each has `bbox` and `segmentation`, as Detectron2 writes them. Before masks or keypoints are scored
        `bbox` has to go: with it `COCO.loadRes` takes the boxes' areas for theirs.
        """
        rows = zip(*(detections[name] for name in ("boxes", "scores", "classes")), strict=True)
        masks, points, results = detections.get("masks"), detections.get("keypoints"), []
        for row, ((x1, y1, x2, y2), score, number) in enumerate(rows):
            if self.category_ids[number] < 0:
                continue
            result = {
                "image_id": self._numbers[sample.id],
                "category_id": self.category_ids[number],
                "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
                "score": float(score),
            }
            result |= {} if masks is None else {"segmentation": masks.text(row)}
            results.append(result | ({} if points is None else {"keypoints": _listed(points[row])}))
        return results

    @classmethod
    def recognize(cls, root):
        return cls.recognize_for(root, ())

    @classmethod
    def recognize_for(cls, root, wanted):
        files = _annotation_files(root, "keypoints" in wanted)
        train = next((files[split] for split in TRAINING if split in files), None)
        if train is None and len(files) == 1:
            train = next(iter(files.values()))
        val = next((files[split] for split in VALIDATION if split in files), None)
        if val is not None and val == files.get("test") and not is_labeled(val):
            val = None
        if train is None:
            if files:
                return f"{len(files)} COCO files, none of which is named as a training set"
            captions = "COCO's captions, which have no boxes; instances_*.json has"
            return captions if _captions(root) else unlike_coco(root)
        return cls._plan(root, train, val)

    @classmethod
    def recognize_file(cls, path, wanted):
        return cls._plan(path.parent, path, None) if path.suffix == ".json" and looks_like_coco(path) else None

    @staticmethod
    def _plan(root, train, val):
        plan = {}
        for split, path in {"train": train, "val": val}.items():
            if path is None or (split == "val" and path == train):
                continue
            names = file_names(path)
            if not names:  # JSON of another tool
                return f"{path} lists no image" if has_all_lists(path) else None
            if is_panoptic(path):
                return f"{path} is of COCO's panoptic format; boxes and masks of objects are in instances_*.json"
            images = image_folder(path, names)
            if images is not None:
                plan[split] = {"annotations": str(path), "images": str(images)}
            elif split == "train":
                shown = ", ".join(names[:SHOWN])
                return f"COCO file {path} found, but none of its images below {root}, such as {shown}"
        return plan


def _listed(points) -> list[float]:
    """Keypoints as COCO's results have them: x, y and a third number that its tools do not use, here the score."""
    return [round(float(value), 4) for value in points.ravel()]


def _captions(root: Path) -> bool:
    return any(root.glob("captions_*.json")) or any(root.glob("*/captions_*.json"))


def _annotation_files(root: Path, keypoints: bool) -> dict[str, Path]:
    """{split such as "train": file}: instances, which have every class, before keypoints, unless these are wanted."""
    folders = [root, *folders_in(root)]
    tables = (files_like(folder, "*.json") for folder in folders)
    paths = [path for files in tables if len(files) <= _MOST_FILES for path in files]
    paths.sort(key=lambda path: (not path.name.startswith("instances"), "keypoints" in path.name))
    if keypoints:
        paths.sort(key=lambda path: "keypoints" not in path.name)
    by_split = {}
    for path in paths:
        split = split_of(path).lower().rstrip("0123456789")
        if split not in by_split and not path.name.startswith(("captions", ".")) and looks_like_coco(path):
            by_split[split] = path
    return by_split
