"""Recognizes annotation files in COCO's format, and finds the images that they name."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from visiontasks.data.finding import Finder
from visiontasks.data.layout import TRAINING, VALIDATION, folders_in, is_split
from visiontasks.data.listing import files_like
from visiontasks.data.text import in_utf8

_SPLIT = re.compile(rf"(?:^|[._-])((?:{'|'.join((*TRAINING, *VALIDATION))})\d*)(?=[._-]|$)", re.IGNORECASE)
_KIND = re.compile(r"^_|(instances|person_keypoints|annotations?|coco)[._-]*", re.IGNORECASE)
_OWN = re.compile(r"(instances|person_keypoints)_|_annotations\.coco\.json$")
_HEAD = 2**20  # bytes: enough to recognize a file and, nearly always, to read an image name from it


def looks_like_coco(path: Path) -> bool:
    """Whether the beginning of a file looks like COCO's lists of images and objects."""
    try:
        head = _head(path)
    except OSError:
        return False
    return head.lstrip().startswith(b"{") and bool(re.search(rb'"(images|annotations|categories)"\s*:\s*\[', head))


def has_all_lists(path: Path) -> bool:
    """Whether a file has COCO's three lists, even if they are empty."""
    head = _head(path)
    return all(re.search(rb'"%s"\s*:\s*\[' % name, head) for name in (b"images", b"annotations", b"categories"))


def unlike_coco(root: Path) -> str | None:
    """Why a file in a folder, or in one in it, that is named as COCO's own is none; None if there is no such file."""
    paths = (path for folder in (root, *folders_in(root)) for path in files_like(folder, "*.json"))
    path = next((path for path in paths if _OWN.match(path.name) and path.is_file()), None)
    if path is None:
        return None
    came = "none of the lists images, annotations and categories" if path.stat().st_size else "nothing"
    return f"{path} is named as a COCO file, but has {came} in it"


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return in_utf8(file.read(_HEAD))


def is_labeled(path: Path) -> bool:
    """Whether a file in COCO's format has annotations; those of a test set often lack them."""
    return re.search(rb'"annotations"\s*:\s*\[\s*[^\s\]]', in_utf8(path.read_bytes())) is not None


def unlabeled_beside(path: Path) -> list[Path]:
    """The files of a test set without annotations in a training file's folder, or in a folder test beside it."""
    if split_of(path).lower().rstrip("0123456789") not in TRAINING:
        return []
    files = [
        *files_like(path.parent, "*.json"),
        *(files_like(path.parent.parent, "test*/*.json") if is_split(path.parent.name) else ()),
    ]
    files = (file for file in sorted(files) if split_of(file).lower().startswith("test"))
    return [file for file in files if looks_like_coco(file) and not is_labeled(file)]


def file_names(path: Path) -> list[str]:
    """Some of the image names in a file, without parsing all of it."""
    pattern = re.compile(rb'"(file_name|coco_url)"\s*:\s*("(?:[^"\\]|\\.)+")')
    found = pattern.findall(_head(path)) or pattern.findall(in_utf8(path.read_bytes()))
    entries = [{key.decode(): _text(value)} for key, value in found if key == found[0][0]]
    return [name_of(entry) for entry in entries[:20]]


def _text(value: bytes) -> str:
    """A text as JSON has it; one with a wrong escape as it stands: the reader of the whole file says what is wrong."""
    try:
        return json.loads(value, strict=False)
    except ValueError:
        return value.decode(errors="replace").strip('"')


def name_of(entry: dict) -> str | None:
    """The file name of an image's entry; of LVIS's, which have none, the last two parts of coco_url."""
    name = entry.get("file_name")
    if name is None and isinstance(url := entry.get("coco_url"), str):
        name = "/".join(url.split("/")[-2:])
    return name


def is_panoptic(path: Path) -> bool:
    """Whether a file lists the segments of masks in PNG, as COCO's panoptic annotations do."""
    return b'"segments_info"' in _head(path)


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
