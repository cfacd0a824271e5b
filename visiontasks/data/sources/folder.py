"""Images in one folder per class."""

import re
from collections.abc import Sequence
from pathlib import Path

from visiontasks.arguments import Count
from visiontasks.data.formats import is_unread_name
from visiontasks.data.images import MAX_PIXELS, files_below, list_images
from visiontasks.data.layout import RESULTS, is_split, split_folders
from visiontasks.data.sources.source import Files
from visiontasks.errors import DataError

# folders that belong to other layouts; a folder of classes is recognized only without them
_OTHER_LAYOUTS = {"images", "masks", "labels", "annotations", "imagesets", "jpegimages", "segmentationclass"}
_SPLIT_WITH_SUFFIX = re.compile(r"(train|training|val|valid|validation|test)[\W_\d]")  # train2017, test-jpg


class Folder(Files):
    """Class folders: ROOT/CLASS/any.jpg; gives `label`.

    Args:
        root: the folder that holds one folder per class; these may have subfolders.
        names: the classes in order; by default the folders with images, sorted. A name without images is allowed, a
            folder without a name is an error.
        max_pixels: larger images are skipped.

    Raises:
        DataError: there is no class folder, or one that `names` lacks.
    """

    LAYOUT = "two or more class folders: DIR/CLASS/*.jpg, or DIR/{train,val}/CLASS/*.jpg"
    fields = frozenset({"label"})

    def __init__(self, root: str, names: Sequence[str] | None = None, max_pixels: Count = MAX_PIXELS):
        super().__init__()
        self.root, self.max_pixels = Path(root), max_pixels
        images = self._find_images()
        names = tuple(map(str, names)) if names is not None else tuple(sorted(images))
        unknown = [name for name in images if name not in names]
        if not names or unknown:
            raise DataError(
                f"{self.root}: expected a folder with images for each class"
                + (f" of names ({', '.join(names)}), got also {', '.join(unknown)}" if unknown else ", got none")
                + f". {self.LAYOUT}."
            )
        for name in names:
            if name not in images:
                self.report.add("class without images", name)
        self.names = {"label": names}
        self.items = [(path, number) for number, name in enumerate(names) for path in images.get(name, ())]

    def _find_images(self) -> dict[str, list[Path]]:
        if not self.root.is_dir():
            raise DataError(f"expected a folder, got {self.root}, which is not a folder.", "root")
        images = {}
        for folder in sorted(p for p in self.root.iterdir() if p.is_dir()):
            if folder.name.startswith("."):
                self.report.add("hidden folder, not used as a class", str(folder))
                continue
            if (folder / RESULTS).exists():
                continue
            images[folder.name] = list_images(folder, report=self.report)
            if not images[folder.name]:
                self.report.add("folder without images, not used as a class", str(folder))
                del images[folder.name]
        loose = list_images(self.root, recursive=False, report=self.report)
        for path in loose:
            self.report.add("image outside the class folders, skipped", str(path))
        return images

    def labels(self, number, size, fields):
        return {"label": number}

    @classmethod
    def recognize(cls, root):
        splits = split_folders(root)
        if "val" not in splits and _has_classes(root):  # a folder named train may be a class of trains
            splits = {"train": root}
        if not _has_classes(splits["train"]):
            return _why_not(splits["train"])
        return {split: {"root": str(folder)} for split, folder in splits.items() if list_images(folder)}

    @classmethod
    def recognize_known(cls, root):
        splits = split_folders(root)
        if not _class_folders(splits["train"]):
            return None
        return {split: {"root": str(folder)} for split, folder in splits.items() if list_images(folder)}


def _class_folders(folder: Path) -> list[Path]:
    """The folders that directly hold images; none if a name points to another layout or to a split."""
    folders = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    names = [p.name.lower() for p in folders]
    # "train" alone may be a class beside bus and car; with a validation folder or a suffix it is a split
    splits = sum(map(is_split, names)) > 1 or any(map(_SPLIT_WITH_SUFFIX.match, names))
    if splits or any(name in _OTHER_LAYOUTS for name in names):
        return []
    return [p for p in folders if list_images(p, recursive=False)]


def _has_classes(folder: Path) -> bool:
    return len(_class_folders(folder)) >= 2


def _names_near(folder: Path) -> list[str]:
    """The names of the files in a folder and in those in it."""
    folders = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    return [name for one in folders for _, names in files_below(one, recursive=False) for name in names]


def _why_not(folder: Path) -> str | None:
    classes, loose = _class_folders(folder), list_images(folder, recursive=False)
    if len(classes) == 1:
        return f"{folder} holds one folder of images, {classes[0].name}; two or more classes are needed"
    if loose and not classes:
        return (
            f"{len(loose)} images lie in {folder} itself, such as {loose[0].name}; a class is a folder: move each "
            "class's images into one, or write a table of file and label"
        )
    unread = [] if classes else [name for name in _names_near(folder) if is_unread_name(name)]
    if unread:
        return (
            f"{folder} holds {len(unread)} pictures of formats that are not read, such as {unread[0]}; convert them to "
            "PNG or JPEG"
        )
    return None
