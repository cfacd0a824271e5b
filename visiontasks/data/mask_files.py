"""Which file is the mask of which image: the names that tools and data sets give them."""

import collections
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from visiontasks.data.finding import folded
from visiontasks.data.images import list_images
from visiontasks.errors import DataError

# the better first, where an image has several masks
_ENDS = (
    *("gtFine_labelTrainIds", "gtCoarse_labelTrainIds", "labelTrainIds"),
    *("gtFine_labelIds", "gtCoarse_labelIds", "labelIds"),
    *("masks?", "labels?", "segmentations?", "seg", "gt", "ground_?truth", "annotations?", "L"),
    *("trimap", "target", "manual1?", "1stHO", "matte"),
)
_MASK_END = re.compile(rf"[_\-. ]({'|'.join(_ENDS)})$", re.IGNORECASE)
_MASK_START = re.compile(r"^(masks?|labels?|seg|segmentation|gt|annotation)([_\-. ]|(?=\d))", re.IGNORECASE)
_IMAGE_END = re.compile(r"[_\-. ](leftImg8bit|images?|img|sat|rgb|training|test)$", re.IGNORECASE)
_IMAGE_START = re.compile(r"^(images?|img)([_\-. ]|(?=\d))", re.IGNORECASE)
# images of the labels that other tasks read, or people look at
_NO_MASK = re.compile(r"_(instance(Train)?Ids|color|polygons|overlay|viz?|2ndHO)$", re.IGNORECASE)


def pairs_of(images: Path, masks: Path, report, names: Sequence[str] | None = None) -> list[tuple[Path, Path]]:
    """(image, its mask) of each image that has one, in the order of the images; the others are reported.

    A mask has its image's name and folder; else both names are compared without the ends and starts that tools add to
    them, in any letter case; else without what all images and all masks begin and end with; else without folders.

    Args:
        images, masks: the folders; in one folder, a mask's name tells it from an image.
        report: gets what is skipped.
        names: of the images to take, with or without folders and suffix; None: all.

    Raises:
        DataError: there is no pair.
    """
    image_files, mask_files = _files(images, masks, report)
    if names is not None:
        image_files = _named(names, image_files, report)
    pairs = matched(images, image_files, masks, mask_files, (*STRICT, _name))
    used = collections.Counter(pairs.values())
    for path in image_files:
        if path not in pairs:
            report.skipped("image without a mask, skipped", str(path))
        elif used[pairs[path]] > 1:
            report.noted("image with the mask of another of its name, as a.jpg and a.png", str(path))
    for path in mask_files:
        if path not in used and names is None:
            report.skipped("mask without an image, skipped", str(path))
    if not pairs:
        raise DataError(
            f"expected in {masks} a mask for each image in {images}, with the image's name or with _mask added to it; "
            f"got {len(image_files)} images and {len(mask_files)} masks, but no pair"
            f"{such_as(image_files, mask_files)}.",
            "masks",
        )
    return [(path, pairs[path]) for path in image_files if path in pairs]


def _files(images, masks, report) -> tuple[list[Path], list[Path]]:
    """The images and the masks in two folders."""
    image_files, mask_files = list_images(images, report=report), list_images(masks)
    if images.resolve() == masks.resolve():
        image_files = [path for path in image_files if not marked(path) and not _NO_MASK.search(path.stem)]
        mask_files = [path for path in mask_files if marked(path) or _NO_MASK.search(path.stem)]
    elif images in masks.parents:
        image_files = [path for path in image_files if masks not in path.parents]
    for path in mask_files:
        if _NO_MASK.search(path.stem):
            report.noted("image of instances, colors for people or a second annotator, beside the masks", str(path))
    return image_files, of_classes(mask_files)


def _named(names, files, report) -> list[Path]:
    by_stem = {path.stem: path for path in files}
    found = [(name, by_stem.get(Path(name).name, by_stem.get(Path(name).stem))) for name in names]
    for name, path in found:
        if path is None:
            report.skipped("image of the list missing, skipped", name)
    return [path for _, path in found if path is not None]


def marked(path: Path) -> bool:
    """Whether a file's name says that it is a mask."""
    return bool(_MASK_END.search(path.stem) or _MASK_START.search(path.stem))


def of_classes(masks: list[Path]) -> list[Path]:
    """The masks but those whose names say that they hold instances, or colors for people."""
    return [path for path in masks if not _NO_MASK.search(path.stem)]


def matched(images, image_files, masks, mask_files, ways: Sequence[Callable] = ()) -> dict[Path, Path]:
    """{image: its mask}: by the first way that gives both the same key; by default those that compare folders too."""
    found, free = {}, list(mask_files)
    for way in ways or STRICT:
        left = [path for path in image_files if path not in found]
        if not left or not free:
            break
        by_key = collections.defaultdict(list)
        for path, key in zip(free, way(masks, free, True), strict=True):
            by_key[key].append(path)
        keys = way(images, left, False)
        times = collections.Counter(keys)
        for path, key in zip(left, keys, strict=True):
            if key in by_key and (way is not _name or times[key] == len(by_key[key]) == 1):
                found[path] = min(by_key[key], key=_preference)
        used = set(found.values())
        free = [path for path in free if path not in used]
    return found


def _preference(mask) -> int:
    end = _MASK_END.search(mask.stem)
    return 0 if end is None else next(k for k, one in enumerate(_ENDS) if re.fullmatch(one, end[1], re.IGNORECASE))


def _path(root, files, of_masks=False) -> list[str]:
    start = len(root.parts)
    return ["/".join((*path.parts[start:-1], path.stem)) for path in files]


def _folded(root, files, of_masks, image_start=None, image_end=None) -> list[str]:
    start, end = (_MASK_START, _MASK_END) if of_masks else (image_start, image_end)
    keys = []
    for key in _path(root, files):
        folder, slash, stem = folded(key).rpartition("/")
        bare = stem if start is None else start.sub("", end.sub("", stem))
        keys.append(folder + slash + (bare or stem))
    return keys


def _bare(root, files, of_masks) -> list[str]:
    return _folded(root, files, of_masks, _IMAGE_START, _IMAGE_END)


def _without_common(root, files, of_masks) -> list[str]:
    """The names without what all begin with, and all end with, cut at a mark between words."""
    stems = [path.stem for path in files]
    if len(stems) < 2:
        return _bare(root, files, of_masks)
    start = re.match(r"(.*[_\-. ])?", os.path.commonprefix(stems))[0]
    end = re.match(r"(.*[_\-. ])?", os.path.commonprefix([stem[::-1] for stem in stems]))[0]
    return [
        key.rpartition("/")[0] + "/" + (stem[len(start) : len(stem) - len(end)] or stem)
        for key, stem in zip(_path(root, files), stems, strict=True)
    ]


def _name(root, files, of_masks) -> list[str]:
    return [key.rpartition("/")[2] for key in _bare(root, files, of_masks)]


STRICT = (_path, _folded, _bare, _without_common)


def such_as(images: list[Path], masks: list[Path]) -> str:
    """The first of the files, for an error."""
    seen = ", ".join(path.name for path in [*images[:1], *masks[:1]])
    return f" (such as {seen})" if seen else ""
