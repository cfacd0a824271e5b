"""Recognizes annotation files in COCO's format, and finds the images that they name."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from visiontasks.data.finding import Finder
from visiontasks.data.layout import TRAINING, VALIDATION, is_split

_SPLIT = re.compile(rf"(?:^|[._-])((?:{'|'.join((*TRAINING, *VALIDATION))})\d*)(?=[._-]|$)", re.IGNORECASE)
_KIND = re.compile(r"^_|(instances|person_keypoints|annotations?|coco)[._-]*", re.IGNORECASE)
_HEAD = 2**20  # bytes: enough to recognize a file and, nearly always, to read an image name from it

# the JSON of other tools, by what only theirs has
_FOREIGN = {
    "CreateML": rb'"coordinates"\s*:\s*\{',
    "VoTT": rb'"assets?"\s*:\s*\{',
    "VGG Image Annotator": rb'"shape_attributes"|"_via_',
    "Label Studio": rb'"from_name"\s*:',
    "Supervisely": rb'"classTitle"\s*:|"title"\s*:[^{}]*"shape"\s*:',
}


def why_not_coco(paths: Iterable[Path]) -> str | None:
    """Which other tool's JSON some files are; None if they are no known tool's."""
    for path in paths:
        head = _head(path)
        for tool, mark in _FOREIGN.items():
            if re.search(mark, head):
                return f"{path} is JSON of {tool}, which is not read; export COCO or PASCAL VOC there"
    return None


def looks_like_coco(path: Path) -> bool:
    """Whether the beginning of a file looks like COCO's lists of images and objects."""
    head = _head(path)
    return head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") and bool(
        re.search(rb'"(images|annotations|categories)"\s*:\s*\[', head)
    )


def _head(path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def file_names(path: Path) -> list[str]:
    """Some of the image names in a file, without parsing all of it."""
    with open(path, "rb") as file:
        text = file.read(_HEAD)
        pattern = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)+")')
        names = pattern.findall(text) or pattern.findall(text + file.read())
    return [json.loads(name) for name in names[:20]]


def image_folder(path: Path, names: Iterable[str]) -> Path | None:
    """The folder that the image names in an annotation file are relative to, or None: no image is found.

    For annotations/instances_train2017.json it tries train2017, train, images/train2017, images/train, images and the
    folder itself, first beside the annotations folder; then every folder below it.
    """
    split = split_of(path)
    bare = split.rstrip("0123456789")
    home = path.parent
    roots = (home.parent, home) if home.name.lower().startswith("annotation") else (home,)
    names = list(names)
    for root in roots:
        for folder in (split, bare, f"images/{split}", f"images/{bare}", "images", "data", "JPEGImages", ""):
            if any(map(Finder(root / folder).at_once, names)):
                return root / folder
    return roots[0] if any(map(Finder(roots[0]).has, names)) else None


def split_of(path: Path) -> str:
    """train2017 of instances_train2017.json; train of train/_annotations.coco.json and of train/labels.json."""
    known = _SPLIT.search(path.stem)
    if known:
        return known[1]
    return path.parent.name if is_split(path.parent.name) else _KIND.sub("", path.stem) or path.parent.name
