"""Which folders are those of classes, and why others are not."""

import re
from pathlib import Path

from visiontasks.data.formats import is_unread_name
from visiontasks.data.images import files_below, list_images
from visiontasks.data.layout import TRAINING, VALIDATION, folders_in, is_split

# folders that belong to other layouts; a folder of classes is recognized only without them
_OTHER_LAYOUTS = {"images", "masks", "labels", "annotations", "imagesets", "jpegimages", "segmentationclass"}
TEST = ("test", "testing")
VALIDATIONS = (*VALIDATION, "testing")
_SPLIT_WITH_SUFFIX = re.compile(r"(train|training|val|valid|validation|test)[\W_\d]")  # train2017, test-jpg


def splits_of(root: Path) -> dict[str, Path]:
    """The folders of class folders: train and test, also seg_train/seg_train and test_set; else {"train": root}.

    A test set without class folders is left out.
    """
    folders, found = folders_in(root), {}
    for split, words in (("train", TRAINING), ("val", VALIDATIONS)):
        for word in words:
            named = [p for p in folders if p.name.lower() == word]
            inner = [inner_of(p) for p in named or folders if p in named or is_of(p.name, (word,))]
            full = [p for p in inner if class_folders(p) or p.parent == root and named and word not in TEST]
            if split not in found and len(full) == 1 and list_images(full[0]):
                found[split] = full[0]
    return found if "train" in found else {"train": root}


def inner_of(folder: Path) -> Path:
    """The folder, or the only one in it if it holds nothing else and that one class folders."""
    inner, loose = folders_in(folder), list_images(folder, recursive=False)
    return inner[0] if len(inner) == 1 and not loose and has_classes(inner[0]) else folder


def is_of(name: str, words) -> bool:
    """Whether the name of a folder begins or ends with one of some words."""
    found = re.findall(r"[^\W\d_]+", name.lower())
    return bool(found) and (found[0] in words or found[-1] in words)


def class_folders(folder: Path) -> list[Path]:
    """The folders that directly hold images; none if a name points to another layout or to a split."""
    folders = folders_in(folder)
    names = [p.name.lower() for p in folders]
    # "train" alone may be a class beside bus and car; with a validation folder or a suffix it is a split
    splits = sum(map(is_split, names)) > 1 or any(map(_SPLIT_WITH_SUFFIX.match, names))
    words = [{*re.findall(r"[^\W\d_]+", name)} for name in names]  # bounding_box_train and bounding_box_test
    splits = splits or any(map({*TRAINING}.intersection, words)) and any(map({*VALIDATIONS}.intersection, words))
    if splits or any(name in _OTHER_LAYOUTS for name in names):
        return []
    return [p for p in folders if list_images(p, recursive=False) or _only_images(p)]


def _only_images(folder: Path) -> bool:
    """Whether a folder holds images in a folder `images` and nothing else, as the classes of Tiny ImageNet do."""
    inner = folder / "images"
    return inner.is_dir() and folders_in(folder) == [inner] and bool(list_images(inner, recursive=False))


def _only_or_class(folder: Path) -> Path | None:
    """The first class folder in a folder, or the only folder in it, if that has images."""
    inner = folders_in(folder)
    found = class_folders(folder) or (inner if len(inner) == 1 else [])
    return found[0] if found and list_images(found[0], recursive=False) else None


def has_classes(folder: Path) -> bool:
    """Whether a folder has two class folders or more."""
    return len(class_folders(folder)) >= 2


def _names_near(folder: Path) -> list[str]:
    """The names of the files in a folder and in those in it."""
    folders = [folder, *folders_in(folder)]
    return [name for one in folders for _, names in files_below(one, recursive=False) for name in names]


def why_not(folder: Path) -> str | None:
    """Why a folder has no class folders, without a period; None if it is nothing like it."""
    classes, loose = class_folders(folder), list_images(folder, recursive=False)
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
    nested = [one for outer in folders_in(folder) if (one := _only_or_class(outer)) is not None]
    if len(nested) > 1 and not classes:
        return (
            f"{folder} holds folders of images in folders, such as {nested[0].relative_to(folder)}; to learn the outer "
            f"ones name the source folder with the root {folder}, to learn the inner ones move them all into one folder"
        )
    swapped = [one for outer in folders_in(folder) for one in folders_in(outer)[:3] if is_split(one.name)]
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
