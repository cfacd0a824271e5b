"""The label files of a YOLO data set: which one is an image's, and which ones have no image."""

import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from visiontasks.data.finding import folded
from visiontasks.data.images import files_below, is_image_name
from visiontasks.data.text import decode

_IMAGE_FOLDERS = ("images", "jpegimages")
_LOOKED_AT = 5  # folders of images in which `labeled` looks for a label file


class Labels:
    """Finds label files: labels/…/a.txt for images/…/a.jpg if that folder has text files, else a.txt beside a.jpg.

    Args:
        root: the data set's folder; a folder `images` above it does not count.
        report: gets the label files whose name differs from the image's in letter case or Unicode form.
    """

    def __init__(self, root: Path, report):
        self.root, self.report = root, report
        self._folders: dict[Path, tuple[Path, set[str], dict[str, str]]] = {}

    def of(self, image: Path) -> Path:
        """The label file of an image; if there is none, where it should be."""
        folder, names, by_key = self._labels_of(image.parent)
        name = f"{image.stem}.txt"
        if name not in names and (other := by_key.get(_key(name))):
            encoded = "%" in name + other
            what = "percent-encoded" if encoded else "whose name has another letter case or Unicode form"
            self.report.noted(f"label file {what}", str(folder / other))
            name = other
        return folder / name

    def without_image(self, labels: Iterable[Path]) -> list[Path]:
        """The files with rows in the folders of these label files that are none of them."""
        used = set(map(str, labels))
        folders = {folder: names for folder, names, _ in self._folders.values()}
        files = [folder / name for folder, names in folders.items() for name in sorted(names)]
        return [file for file in files if str(file) not in used and _has_row(file)]

    def _labels_of(self, images: Path) -> tuple[Path, set[str], dict[str, str]]:
        """(the folder of the label files of a folder of images, their names, {folded name: name})."""
        if images not in self._folders:
            folder, names = _label_folder(images, self.root)
            self._folders[images] = folder, names, {_key(name): name for name in names}
        return self._folders[images]


def _key(name: str) -> str:
    """What the names of an image and its label file have in common."""
    return folded(unquote(name))


def labeled(root: Path) -> bool:
    """Whether a folder holds an image and a label file for it; only its first folders of images are looked at."""
    seen = 0
    for folder, names in files_below(root):
        images = {_key(os.path.splitext(name)[0]) for name in names if is_image_name(name)}
        if images:
            labels, texts = _label_folder(folder, root)
            if any(_key(os.path.splitext(text)[0]) in images and _has_row(labels / text) for text in texts):
                return True
            seen += 1
            if seen == _LOOKED_AT:
                break
    return False


def without_images(root: Path) -> bool:
    """Whether a folder `labels` has label files, and no image lies below the root."""
    listed = (folder / name for folder, names in files_below(root / "labels") for name in names)
    files = [*itertools.islice((path for path in listed if path.suffix == ".txt"), _LOOKED_AT)]
    return any(map(_has_row, files)) and not any(any(map(is_image_name, names)) for _, names in files_below(root))


def _label_folder(images: Path, root: Path) -> tuple[Path, set[str]]:
    """The folder of the label files for a folder of images, and the names of its text files."""
    names = list(images.relative_to(root).parts)
    places = [place for place, name in enumerate(names) if name.lower() in _IMAGE_FOLDERS]
    if places:
        names[places[-1]] = "labels"
        folder = root.joinpath(*names)
        texts = _texts(folder)
        if texts or not _texts(images):
            return folder, texts
    return images, _texts(images)


def _texts(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            files = [entry.name for entry in entries if entry.is_file() or entry.is_symlink()]  # no pipes
        return {name for name in files if name.lower().endswith(".txt") and not name.startswith(".")}
    except OSError:
        return set()


def _has_row(file: Path) -> bool:
    """Whether the first row that is not empty is a class and four numbers or more."""
    try:
        line = next((line for line in decode(file.read_bytes()).splitlines() if line.strip()), "")
        row = line.split() if line.count(",") != 4 else line.split(",")  # commas are an error later
        return len(row) >= 5 and all(map(_is_number, row))
    except (OSError, UnicodeDecodeError):
        return False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
