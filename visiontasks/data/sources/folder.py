"""Images in one folder per class."""

import collections
import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from visiontasks.arguments import Count
from visiontasks.data.finding import Finder
from visiontasks.data.formats import is_unread_name
from visiontasks.data.images import MAX_PIXELS, files_below, list_images
from visiontasks.data.layout import RESULTS, TRAINING, VALIDATION, child, is_split
from visiontasks.data.sources.csv import Csv
from visiontasks.data.sources.source import Files, Overruled
from visiontasks.data.split_lists import find_lists, names_in, tell_unused
from visiontasks.errors import DataError

# folders that belong to other layouts; a folder of classes is recognized only without them
_OTHER_LAYOUTS = {"images", "masks", "labels", "annotations", "imagesets", "jpegimages", "segmentationclass"}
_IMAGE_FOLDERS = ("images", "image", "img", "imgs", "jpegimages", "jpg", "data")  # of class folders, beside lists
_TEST = ("test", "testing")
_VALIDATION = (*VALIDATION, "testing")
_SPLIT_WITH_SUFFIX = re.compile(r"(train|training|val|valid|validation|test)[\W_\d]")  # train2017, test-jpg
_MASK = re.compile(r"[_-](mask|segmentation|gt)([_-]?\d+)?$", re.IGNORECASE)
_UNLABELED = "_unlabeled"  # FiftyOne's
_AGREE = 0.9  # of the rows of a table: with so many a folder's images have one class


class Folder(Files):
    """Class folders: ROOT/CLASS/any.jpg; gives `label`.

    Args:
        root: the folder that holds one folder per class; these may have subfolders.
        names: the classes in order; by default the folders with images, sorted. A name without images is allowed, a
            folder without a name is an error.
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
        max_pixels: Count = MAX_PIXELS,
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
        names = tuple(map(str, names)) if names is not None else tuple(sorted(images))
        unknown = [name for name in images if name not in names]
        if not names or unknown:
            raise DataError(
                f"{self.root}: expected a folder with images for each class"
                + (f" of names ({', '.join(names)}), got also {', '.join(unknown)}" if unknown else ", got none")
                + f". {self.LAYOUT}."
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
            images[folder.name] = self._without_masks(list_images(folder, report=self.report))
            if not images[folder.name]:
                self.report.noted("folder without images, not used as a class", str(folder))
                del images[folder.name]
        loose = list_images(self.root, recursive=False, report=self.report)
        self._tell_contradictions()
        for path in loose:
            self.report.skipped("image outside the class folders, skipped", str(path))
        if _is_of(self.root.name, TRAINING):
            for folder in _folders(self.root.parent):
                if _is_of(folder.name, _TEST) and not _class_folders(_inner(folder)) and list_images(folder):
                    self.report.noted("test images without class folders, not used", str(folder))
        return images

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
        above = [self.root.parent] if _is_of(self.root.name, (*TRAINING, *_VALIDATION)) else []
        for table in (table for folder in (self.root, *above) for table in _tables(folder)):
            for path in _contradicted(table):
                if self.root in path.parents:
                    what = f"image to which {table.path.name} gives another class than its folder, which is learned"
                    self.report.noted(what, str(path))

    def labels(self, number, size, fields):
        return {"label": number}

    @classmethod
    def recognize(cls, root):
        splits = _splits(root)
        if "val" not in splits and _has_classes(root):  # a folder named train may be a class of trains
            splits = {"train": root}
        if "val" not in splits and (lists := _lists(root)):
            return _overruled(root) or lists
        if not _has_classes(splits["train"]):
            return _why_not(splits["train"])
        if "val" in splits and not _class_folders(splits["val"]):
            return (
                f"{splits['val']} has images, but not in class folders as {splits['train']} has them; move each into "
                "its class's"
            )
        return _overruled(root) or {split: {"root": str(folder)} for split, folder in splits.items()}

    @classmethod
    def recognize_known(cls, root):
        splits = _splits(root)
        if not _class_folders(splits["train"]):
            return None
        return {split: {"root": str(folder)} for split, folder in splits.items() if _class_folders(folder)}


def _splits(root: Path) -> dict[str, Path]:
    """The folders of class folders: train and test, also seg_train/seg_train and test_set; else {"train": root}.

    A test set without class folders is left out.
    """
    folders, found = _folders(root), {}
    for split, words in (("train", TRAINING), ("val", _VALIDATION)):
        for word in words:
            named = [p for p in folders if p.name.lower() == word]
            inner = [_inner(p) for p in named or folders if p in named or _is_of(p.name, (word,))]
            full = [p for p in inner if _class_folders(p) or p.parent == root and named and word not in _TEST]
            if split not in found and len(full) == 1 and list_images(full[0]):
                found[split] = full[0]
    return found if "train" in found else {"train": root}


def _lists(root: Path) -> dict[str, dict[str, str]]:
    """The arguments of class folders, or of those in a folder of images, with a list for each split; or {}."""
    for images in (root, child(root, _IMAGE_FOLDERS)):
        if images is not None and (lists := find_lists(root, images)) and _has_classes(images):
            return {split: {"root": str(images), **one} for split, one in lists.items()}
    return {}


def _inner(folder: Path) -> Path:
    """The folder, or the only one in it if it holds nothing else and that one class folders."""
    inner, loose = _folders(folder), list_images(folder, recursive=False)
    return inner[0] if len(inner) == 1 and not loose and _has_classes(inner[0]) else folder


def _is_of(name: str, words) -> bool:
    """Whether the name of a folder begins or ends with one of some words."""
    found = re.findall(r"[^\W\d_]+", name.lower())
    return bool(found) and (found[0] in words or found[-1] in words)


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


def _folders(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def _class_folders(folder: Path) -> list[Path]:
    """The folders that directly hold images; none if a name points to another layout or to a split."""
    folders = _folders(folder)
    names = [p.name.lower() for p in folders]
    # "train" alone may be a class beside bus and car; with a validation folder or a suffix it is a split
    splits = sum(map(is_split, names)) > 1 or any(map(_SPLIT_WITH_SUFFIX.match, names))
    words = [{*re.findall(r"[^\W\d_]+", name)} for name in names]  # bounding_box_train and bounding_box_test
    splits = splits or any(map({*TRAINING}.intersection, words)) and any(map({*_VALIDATION}.intersection, words))
    if splits or any(name in _OTHER_LAYOUTS for name in names):
        return []
    return [p for p in folders if list_images(p, recursive=False) or _only_images(p)]


def _only_images(folder: Path) -> bool:
    """Whether a folder holds images in a folder `images` and nothing else, as the classes of Tiny ImageNet do."""
    inner = folder / "images"
    return inner.is_dir() and _folders(folder) == [inner] and bool(list_images(inner, recursive=False))


def _only_or_class(folder: Path) -> Path | None:
    """The first class folder in a folder, or the only folder in it, if that has images."""
    inner = _folders(folder)
    found = _class_folders(folder) or (inner if len(inner) == 1 else [])
    return found[0] if found and list_images(found[0], recursive=False) else None


def _has_classes(folder: Path) -> bool:
    return len(_class_folders(folder)) >= 2


def _names_near(folder: Path) -> list[str]:
    """The names of the files in a folder and in those in it."""
    folders = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    return [name for one in folders for _, names in files_below(one, recursive=False) for name in names]


def _why_not(folder: Path) -> str | None:
    classes, loose = _class_folders(folder), list_images(folder, recursive=False)
    if len(classes) == 1:
        return (
            f"{folder} holds one folder of images, {classes[0].name}; two or more classes are needed, "
            "each in a folder, or a table of file and label"
        )
    if loose and not classes:
        return (
            f"{len(loose)} images lie in {folder} itself, such as {loose[0].name}; a class is a folder: move each "
            "class's images into one, or write a table of file and label"
        )
    nested = [one for outer in _folders(folder) if (one := _only_or_class(outer)) is not None]
    if len(nested) > 1 and not classes:
        return (
            f"{folder} holds folders of images in folders, such as {nested[0].relative_to(folder)}; to learn the outer "
            f"ones name the source folder with the root {folder}, to learn the inner ones move them all into one folder"
        )
    swapped = [one for outer in _folders(folder) for one in _folders(outer)[:3] if is_split(one.name)]
    if not classes and len({one.parent for one in swapped}) > 1 and list_images(swapped[0], recursive=False):
        return (
            f"{folder} holds splits in folders of classes, such as {swapped[0].relative_to(folder)}; put the classes "
            f"into the splits, as {swapped[0].name}/{swapped[0].parent.name}"
        )
    unread = [] if classes else [name for name in _names_near(folder) if is_unread_name(name)]
    if unread:
        return (
            f"{folder} holds {len(unread)} images in formats that are not read, such as {unread[0]}; convert them to "
            "PNG or JPEG"
        )
    return None
