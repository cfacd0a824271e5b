"""Where a data set has its images and its masks: the names of folders, and the lists of splits."""

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visiontasks.data.finding import Finder
from visiontasks.data.images import files_below, list_images
from visiontasks.data.layout import TRAINING, VALIDATION, folders_in
from visiontasks.data.mask_files import marked, matched, of_classes, such_as
from visiontasks.data.mask_images import read_stored_mask
from visiontasks.data.split_lists import names_in, split_files
from visiontasks.errors import BadImage, DataError

# the better first, where several folders match the images; DRIVE's `mask` is a field of view
_FOLDERS = (
    *("1st_manual", "manual1", "masks", "segmentationclass", "segmentationclasspng", "trimaps", "gtfine"),
    *("labels", "label", "annotations", "annotation", "annot"),
)
_MASK_FOLDER = re.compile(
    r"mask|label(?!led|ed)|annot(?!ated)|(^|[^a-z])(ann|gts?|gtfine|gtcoarse|seg(?!mented))([^a-z]|$)|segmentation"
    r"|ground.?truth|manual|trimap|target|semantic|(^|[^a-z])seg.?maps?([^a-z]|$)|thing.?maps|pixel.?maps",
    re.IGNORECASE,
)
_OTHER_FOLDER = re.compile(r"instance|panoptic|object|visuali|overlay|2nd|field.?of.?view", re.IGNORECASE)
_IMAGE_FOLDER = re.compile(r"image|img|photo|picture|(^|[^a-z])(rgb|sat|original|inputs?|frames?)", re.IGNORECASE)
_SPLIT = re.compile(
    rf"(?:^|(?<=[^a-z]))({'|'.join(sorted((*TRAINING, *VALIDATION), key=len, reverse=True))})"
    r"(?=$|[^a-z]|masks?|labels?|annot|images?|gt)",
    re.IGNORECASE,
)
_MANY = 50  # folders in a folder: more are classes or patients
_FEW = 32  # values in a mask: a photograph has more
_READ = {".txt", ".xml", ".csv", ".json", ".yaml"}  # in a folder of labels: other sources read it


class _Folder(NamedTuple):
    path: Path
    role: tuple[str, ...]  # the names on its way, with * for the word of a split
    split: str | None  # train, or a word of VALIDATION
    masks: bool


def recognize(root: Path) -> dict[str, dict] | str | None:
    """The arguments of images and masks by split, the reason why a folder is not it, or None; as `Source.recognize`.

    Names of folders only say where to look: the names of files must match.
    """
    found, reason = _in_folders(root)
    found = _side_by_side(root) if found is None else found
    return reason or _deeper(root) if found is None else _with_lists(root, found)


def other_folders(images: Path, masks: Path) -> list[Path]:
    """The folders beside the masks that match at least half of the images too."""
    if images in (masks, masks.parent):
        return []
    folders = [one for one in folders_in(masks.parent) if one not in (masks, images) and holds_masks(one.name)]
    own = _SPLIT.sub("*", masks.name)  # masks of another split are no other masks
    folders = [one for one in folders if _SPLIT.sub("*", one.name) != own]
    files = list_images(images) if folders else []
    return [one for one in folders if 0 < len(files) <= 2 * len(matched(images, files, one, list_images(one)))]


def _in_folders(root) -> tuple[dict[str, dict] | None, str | None]:
    """The arguments by split, or why not, of images in one folder and masks in another."""
    roles: tuple[dict, dict] = ({}, {})
    unread = None
    files: dict[Path, list[Path]] = {}
    for folder in _folders(root):
        if folder.masks:
            files[folder.path] = of_classes(list_images(folder.path))
        if folder.masks and not files[folder.path]:
            unread = unread or _unread(folder.path)
        else:
            roles[folder.masks].setdefault(folder.role, {}).setdefault(folder.split, folder.path)
    found, reason = [], unread
    for mask_role, mask_splits in roles[True].items():
        for image_role, image_splits in roles[False].items():
            arguments, pairs = {}, 0
            for split in ("train", *VALIDATION):
                images, masks = image_splits.get(split), mask_splits.get(split)
                images, masks = images or image_splits.get(None), masks or mask_splits.get(None)
                own = split in image_splits or split in mask_splits  # else these are the training set's folders
                name = "train" if split == "train" else "val"
                if images is None or masks is None or name in arguments or not (own or split == "train"):
                    continue
                if images not in files:
                    files[images] = list_images(images)
                mine = [path for path in files[images] if masks not in path.parents]
                count = len(matched(images, mine, masks, files[masks]))
                # one folder may have the masks, or the images, of all splits
                enough = len(files[masks]) if (split in image_splits) == (split in mask_splits) else 1
                if 0 < enough <= 2 * count:
                    arguments[name], pairs = {"images": str(images), "masks": str(masks)}, pairs + count
                elif split == "train":
                    if mine and _IMAGE_FOLDER.search("".join(image_role[-1:])):
                        reason = (
                            f"{masks} has {count} masks with the names of images in {images}"
                            f"{such_as(mine, files[masks])}"
                        )
                        if {path.stem for path in mine} & {path.stem for path in files[masks]}:
                            reason += "; they lie in other folders: with one for each class, join each image's masks"
                    break
            if "train" in arguments:
                shown = bool(_IMAGE_FOLDER.search(" ".join(image_role)))
                splits = "*" in " ".join((*image_role, *mask_role))
                order = (-_rank(mask_role), shown, len(arguments), pairs, splits, -len(image_role) - len(mask_role))
                found.append((pairs, order, arguments))
    if not found and reason is None and (masks := next((folder for folder in files if files[folder]), None)):
        others = (path for path in list_images(root) if not any(map(_names_labels, path.relative_to(root).parts[:-1])))
        if next(others, None) is None:
            reason = f"{masks} has masks, but there are no images in {root}; export with images, or lay them into it"
    most = max((pairs for pairs, *_ in found), default=0)
    found = [(order, arguments) for pairs, order, arguments in found if 2 * pairs >= most]
    return (max(found, key=lambda one: one[0])[1] if found else None), reason


def _folders(root) -> list[_Folder]:
    """The folder, those in it, and below those whose names speak of images, masks or splits."""
    level = [_Folder(root, (), None, False)]
    found = [*level]
    for depth in range(5):  # bdd100k/labels/sem_seg/masks/train
        below = []
        for path, role, split, masks in level:
            inner = folders_in(path)
            drawn = _drawn(inner)
            for folder in inner:
                speaks = holds_masks(folder.name) or _IMAGE_FOLDER.search(folder.name) or _SPLIT.search(folder.name)
                speaks = speaks or drawn is not None or depth > 0 and len(inner) <= _MANY and _leads_on(folder)
                if _OTHER_FOLDER.search(folder.name) or not speaks and (depth and len(inner) > 1 or len(inner) > _MANY):
                    continue
                word, name = _SPLIT.search(folder.name), folder.name.lower()
                own = split if word is None else "train" if word[1].lower() in TRAINING else word[1].lower()
                part = name if word is None else _SPLIT.sub("*", name, count=1)
                below.append(_Folder(folder, (*role, part), own, masks or holds_masks(name) or folder == drawn))
        found += below
        alone = len(below) == 1  # such as VOCdevkit
        level = [one for one in below if alone or one.masks or one.split or _IMAGE_FOLDER.search(" ".join(one.role))]
    return found


def holds_masks(name: str) -> bool:
    """Whether a folder's name speaks of masks."""
    return bool(_MASK_FOLDER.search(name)) and not _OTHER_FOLDER.search(name)


def _names_labels(name: str) -> bool:
    return bool(_MASK_FOLDER.search(name) or _OTHER_FOLDER.search(name))


def _leads_on(folder) -> bool:
    """Whether a folder holds folders of masks and none of images, such as the v2.0 of Mapillary."""
    names = [one.name for one in folders_in(folder)]
    return any(map(holds_masks, names)) and not any(map(_IMAGE_FOLDER.search, names))


def _drawn(folders) -> Path | None:
    """Of two folders with files of the same names that say nothing, such as x and y, the one whose files are drawn."""
    if len(folders) != 2 or any(holds_masks(one.name) or _SPLIT.fullmatch(one.name) for one in folders):
        return None
    files = [list_images(one, recursive=False) for one in folders]
    names = [{path.stem for path in some} for some in files]
    if not names[0] or names[0] != names[1]:
        return None
    drawn = [folder for folder, some in zip(folders, files, strict=True) if _is_drawn(some[0])]
    return drawn[0] if len(drawn) == 1 else None


def _is_drawn(file) -> bool:
    try:
        stored = read_stored_mask(file)
    except (BadImage, DataError):
        return False
    return not stored.lossy and len(np.unique(stored.values)) <= _FEW


def _unread(folder) -> str | None:
    """Why a folder of masks, by its name, has none; None if it seems to hold what another source reads."""
    if images := list_images(folder):
        return (
            f"{folder} has images of instances, or of colors for people, such as {images[0].name}, and no masks of "
            "classes"
        )
    names = [name for _, some in files_below(folder) for name in some]
    other = [name for name in names if os.path.splitext(name)[1].lower() not in _READ]
    if 2 * len(other) <= len(names) or not other:
        return None
    return f"{folder} has {len(other)} files that are no images, such as {other[0]}; write the masks as PNG"


def _deeper(root) -> str | None:
    """Why a folder is not read whose splits hold several folders with images and masks."""
    for folder in (one for one in folders_in(root) if _SPLIT.fullmatch(one.name)):
        inner = folders_in(folder)
        if 1 < len(inner) <= _MANY and (found := next((one for one in inner if _in_folders(one)[0]), None)):
            return f"{found} has images and masks of its own; give one such folder, or a list of sources"
    return None


def _rank(role) -> int:
    if any(re.search("color|human", part) for part in role):  # beside the same masks as numbers
        return len(_FOLDERS) + 1
    return min((_FOLDERS.index(part) for part in role if part in _FOLDERS), default=len(_FOLDERS))


def _side_by_side(root) -> dict[str, dict] | None:
    """The arguments by split of masks that lie beside their images."""
    splits = {}
    for folder in folders_in(root):
        if _SPLIT.fullmatch(folder.name):
            splits.setdefault("train" if folder.name.lower() in TRAINING else folder.name.lower(), folder)
    train = splits.get("train", root)
    if not _mixed(train):
        return None
    val = next((splits[name] for name in VALIDATION if name in splits and _mixed(splits[name])), None)
    found = {"train": train} | ({} if val is None or train == root else {"val": val})
    return {split: {"images": str(folder), "masks": str(folder)} for split, folder in found.items()}


def _mixed(folder) -> bool:
    """Whether half of the first images in a folder, or in one in it, have masks beside them."""
    for place in (folder, *folders_in(folder)[:5]):
        files = of_classes(list_images(place, recursive=False))
        masks = [path for path in files if marked(path)]
        images = [path for path in files if not marked(path)]
        if masks and 0 < len(images) <= 2 * len(matched(place, images, place, masks)):
            return True
    return False


def _with_lists(root, found) -> dict[str, dict]:
    """The arguments with the lists of splits, where there are such lists and no folders of splits."""
    finder = Finder(found["train"]["images"])
    bases = dict.fromkeys((root, Path(found["train"]["images"]).parent))
    for base in bases if "val" not in found else ():
        for place in (base / "ImageSets/Segmentation", base):
            files = split_files(place) if place.is_dir() else {}
            try:
                lists = {split: (file, names_in(file, finder)) for split, file in files.items()}
            except DataError:  # text of something else
                continue
            stems = {path.stem for path in list_images(found["train"]["images"])} if lists else ()
            if lists and all(_known(names, stems) for _, names in lists.values()):
                return {split: {**found["train"], "list": str(file)} for split, (file, _) in lists.items()}
    return found


def _known(names, stems) -> bool:
    """Whether half of the names, and at least one, are images."""
    return 0 < len(names) <= 2 * sum(Path(name).name in stems or Path(name).stem in stems for name in names)
