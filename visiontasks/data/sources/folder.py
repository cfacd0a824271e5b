"""Images in one folder per class."""

import collections
import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from visiontasks.arguments import Pixels
from visiontasks.data.class_folders import (
    TEST,
    VALIDATIONS,
    class_folders,
    has_classes,
    inner_of,
    is_of,
    splits_of,
    why_not,
)
from visiontasks.data.class_lists import are_ids, in_order, listed_classes
from visiontasks.data.finding import Finder
from visiontasks.data.images import MAX_PIXELS, list_images
from visiontasks.data.layout import RESULTS, TRAINING, child, folders_in, is_split
from visiontasks.data.sources.csv import Csv
from visiontasks.data.sources.source import Files, Overruled
from visiontasks.data.split_lists import find_lists, names_in, tell_unused
from visiontasks.errors import DataError

_IMAGE_FOLDERS = ("images", "image", "img", "imgs", "jpegimages", "jpg", "data")  # of class folders, beside lists
_MASK = re.compile(r"[_-](mask|segmentation|gt)([_-]?\d+)?$", re.IGNORECASE)
_UNLABELED = "_unlabeled"  # FiftyOne's
_AGREE = 0.9  # of the rows of a table: with so many a folder's images have one class


class Folder(Files):
    """Class folders: ROOT/CLASS/any.jpg; gives `label`.

    Args:
        root: the folder that holds one folder per class; these may have subfolders.
        names: the classes in order; by default the folders with images, sorted. Where all are ids, and a list beside
            them or above their split, such as cat_to_name.json, gives each a name of its own, these are the names. A
            name without images is allowed, a folder without a name is an error.
        max_pixels: larger images are skipped.
        list: a text file with the name of an image a line, as food-101's meta/train.txt, or train_test_split.txt of
            CUB-200; by default all images are taken.
        split: of the latter the part that is taken.

    Raises:
        DataError: there is no class folder, or one that `names` lacks, or the list cannot be read or names no image.
    """

    LAYOUT = (
        "two or more class folders: DIR/CLASS/*.jpg, DIR/{train,val}/CLASS/*.jpg, or DIR/images/CLASS/*.jpg with the "
        "lists DIR/meta/{train,test}.txt"
    )
    fields = frozenset({"label"})

    def __init__(
        self,
        root: str,
        names: Sequence[str] | None = None,
        max_pixels: Pixels = MAX_PIXELS,
        list: str | None = None,
        split: Literal["train", "test"] | None = None,
    ):
        super().__init__()
        self.root, self.max_pixels = Path(root), max_pixels
        images = self._find_images()
        finder = Finder(self.root, self.report)
        if list is None:
            home = self.root.parent if self.root.name.lower() in _IMAGE_FOLDERS else self.root
            tell_unused(home, finder, self.report)
        else:
            images = self._of_list(images, Path(list), split, finder)
        images = self._named(images, names)
        names = tuple(images if names is None else map(str, names))
        unknown = [name for name in images if name not in names]
        if not names or unknown:
            raise DataError(
                f"{self.root}: expected a folder with images for each class"
                + (f" of names ({', '.join(names)}), got also {', '.join(unknown)}" if unknown else ", got none")
                + f". {self.LAYOUT}.",
                "names" if unknown else None,
            )
        for name in names:
            if not images.get(name):
                self.report.noted("class without images", name)
        self.names = {"label": names}
        self.items = [(path, number) for number, name in enumerate(names) for path in images.get(name, ())]

    def _of_list(self, images, file, split, finder) -> dict[str, list[Path]]:
        """Of the images of each class those that a list names."""
        names = names_in(file, finder, split)
        listed = {finder.find(name, file, "list") for name in names}
        chosen = {name: [path for path in paths if path in listed] for name, paths in images.items()}
        count, all_images = (sum(map(len, some.values())) for some in (chosen, images))
        if not count:
            raise finder.none_found(file, names, "list")
        if count < all_images:
            self.report.noted(f"list of images that leaves out {all_images - count} others", str(file))
        return chosen

    def _find_images(self) -> dict[str, list[Path]]:
        if not self.root.is_dir():
            raise DataError(f"expected a folder, got {self.root}, which is not a folder.", "root")
        images = {}
        for folder in sorted(p for p in self.root.iterdir() if p.is_dir()):
            if folder.name.startswith("."):
                self.report.noted("hidden folder, not used as a class", str(folder))
                continue
            if (folder / RESULTS).exists():
                continue
            if folder.name == _UNLABELED:
                self.report.noted("folder of images without a class, not used", str(folder))
                continue
            listed = self._without_other_classes(folder, list_images(folder, report=self.report))
            images[folder.name] = self._without_masks(listed)
            if not images[folder.name]:
                self.report.noted("folder without images, not used as a class", str(folder))
                del images[folder.name]
        loose = list_images(self.root, recursive=False, report=self.report)
        self._tell_contradictions()
        for path in loose:
            self.report.skipped("image outside the class folders, skipped", str(path))
        if is_of(self.root.name, TRAINING):
            for folder in folders_in(self.root.parent):
                if is_of(folder.name, TEST) and not class_folders(inner_of(folder)) and list_images(folder):
                    self.report.noted("test images without class folders, not used", str(folder))
        return images

    def _without_other_classes(self, folder, paths) -> list[Path]:
        """The images of a class without those that a link in its folder finds in the folder of another class."""
        root, own = self.root.resolve(), folder.resolve()
        homes = {home: home.resolve() for home in {path.parent for path in paths}}
        others = {home for home, real in homes.items() if real.is_relative_to(root) and not real.is_relative_to(own)}
        for path in paths if others else ():
            if path.parent in others:
                self.report.skipped("link to an image of another class, skipped", str(path))
        return [path for path in paths if path.parent not in others] if others else paths

    def _named(self, images, names) -> dict[str, list[Path]]:
        """The images of each class, in their order; folders of ids get the names in a list beside them."""
        ordered, home = in_order(images), self.root
        within = is_split(home.name) or home.name.lower() in _IMAGE_FOLDERS
        places = [home, home.parent] if within else [home]
        above = home.parent.parent
        if within and os.access(above, os.R_OK) and folders_in(above) == [home.parent]:  # not beside other data sets
            places.append(above)
        for place in places if are_ids(images) else ():
            listed = listed_classes(place, images, names, self.report)
            if images.keys() <= listed.keys():
                return {listed[name]: images[name] for name in ordered}
        return {name: images[name] for name in ordered}

    def _without_masks(self, images) -> list[Path]:
        """The images but masks of others, such as x_mask.png beside x.png."""
        masks = [path for path in images if _MASK.search(path.stem)]
        whole = {path.with_suffix("") for path in images} if masks else set()
        masks = [path for path in masks if path.with_name(_MASK.sub("", path.stem)) in whole]
        for path in masks:
            self.report.noted("mask beside its image, not used", str(path))
        left = set(masks)
        return [path for path in images if path not in left]

    def _tell_contradictions(self):
        above = [self.root.parent] if is_of(self.root.name, (*TRAINING, *VALIDATIONS)) else []
        for table in (table for folder in (self.root, *above) for table in _tables(folder)):
            for path in _contradicted(table):
                if self.root in path.parents:
                    what = f"image to which {table.path.name} gives another class than its folder, which is learned"
                    self.report.noted(what, str(path))

    def labels(self, number, size, fields):
        return {"label": number}

    @classmethod
    def recognize(cls, root):
        splits = splits_of(root)
        if "val" not in splits and has_classes(root):  # a folder named train may be a class of trains
            splits = {"train": root}
        if "val" not in splits and (lists := _lists(root)):
            return _overruled(root) or lists
        if not has_classes(splits["train"]):
            return why_not(splits["train"])
        if "val" in splits and not class_folders(splits["val"]):
            return (
                f"{splits['val']} has images, but not in class folders as {splits['train']} has them; move each into "
                "its class's"
            )
        return _overruled(root) or {split: {"root": str(folder)} for split, folder in splits.items()}

    @classmethod
    def recognize_known(cls, root):
        splits = splits_of(root)
        if not class_folders(splits["train"]):
            return None
        return {split: {"root": str(folder)} for split, folder in splits.items() if class_folders(folder)}


def _lists(root: Path) -> dict[str, dict[str, str]]:
    """The arguments of class folders, or of those in a folder of images, with a list for each split; or {}."""
    for images in (root, child(root, _IMAGE_FOLDERS)):
        if images is not None and (lists := find_lists(root, images)) and has_classes(images):
            return {split: {"root": str(images), **one} for split, one in lists.items()}
    return {}


def _overruled(root: Path) -> Overruled | None:
    """Why a table in a folder of class folders says what the classes are; None if it is as good as the folders."""
    for table in _tables(root)[:1]:
        others, count = _contradicted(table), len(table.items)
        if count - len(others) < _AGREE * count:
            column = f"its column {table.columns[0]}" if len(table.columns) == 1 else "the table"
            return Overruled(
                f"{table.path.name} gives {len(others)} of {count} images another class than their folder, such as "
                f"{others[0].parent.name}/{others[0].name}, so {column} is learned"
            )
    return None


def _tables(root: Path) -> list[Csv]:
    """The tables beside class folders that give each image one class, the training set's first."""
    found = Csv.recognize_for(root, {"label"})
    tables = {one["path"]: one for one in found.values()} if isinstance(found, dict) else {}
    read = []
    for arguments in tables.values():
        with contextlib.suppress(DataError):
            read.append(Csv(**{key: value for key, value in arguments.items() if key != "split"}))
    return read


def _contradicted(table: Csv) -> list[Path]:
    """The images to which a table gives another class than to most of their folder.

    None if it does not say the class: all lie in one folder, or each has its own.
    """
    labels = {}
    for path, tags in table.items:
        labels.setdefault(path.parent, []).append(int(tags.argmax()))
    if len(labels) < 2 or len(table.names["tags"]) == len(table.items):
        return []
    most = {folder: collections.Counter(some).most_common(1)[0][0] for folder, some in labels.items()}
    return [path for path, tags in table.items if int(tags.argmax()) != most[path.parent]]
