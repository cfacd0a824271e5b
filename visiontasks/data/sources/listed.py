"""Images and their classes in a text list."""

import re
from collections.abc import Sequence
from pathlib import Path

from visiontasks.arguments import Pixels
from visiontasks.data.class_lists import in_order, listed_classes
from visiontasks.data.finding import Finder
from visiontasks.data.foreign import LIST, foreign_format
from visiontasks.data.images import MAX_PIXELS
from visiontasks.data.layout import child
from visiontasks.data.sources.source import Files
from visiontasks.data.split_lists import PLACES, labeled_lines, leads, split_files
from visiontasks.errors import DataError

_IMAGE_FOLDERS = ("images", "image", "img", "imgs", "jpegimages", "data")
_NUMBERED = re.compile(r"[\W_]*\d+$")  # at the end of a file's name: the number of an image in its class


class Listed(Files):
    """A text file with an image and its class in each line; gives `label`.

    What follows the name is a class, or the number of one, as in `1.jpg 0`. Of several numbers the first is the class,
    as in the trainval.txt of Oxford-IIIT Pet (`Abyssinian_100 1 1 1`: class, species, breed of the species). Where the
    files of each number begin alike (Abyssinian_100, Abyssinian_101), that is the name of the class; else it is the
    number. A list of classes beside it, such as classes.txt, that gives each number a name comes before both.

    Args:
        list: the text file; lines that begin with # are left out.
        images: the folder that its names are relative to; they may lack the suffix.
        names: the classes in order; by default those in the list, sorted, or those of the list of classes.
        max_pixels: larger images are skipped.

    Raises:
        DataError: the list cannot be read, a line has no class or one that `names` lacks, or no image is there.
    """

    LAYOUT = (
        "lists of images and classes: DIR/{train,val}.txt with lines such as x.jpg 3, or DIR/annotations/*.txt and "
        "DIR/images"
    )
    fields = frozenset({"label"})

    def __init__(self, list: str, images: str, names: Sequence[str] | None = None, max_pixels: Pixels = MAX_PIXELS):
        super().__init__()
        self.list, self.root, self.max_pixels = Path(list), Path(images), max_pixels
        if not self.root.is_dir():
            raise DataError(f"expected a folder, got {self.root}, which is not a folder.", "images")
        rows = labeled_lines(self.list)
        named = None if names is None else [*map(str, names)]
        listed = self._names_of_ids(rows, named)
        classes = [listed[label.split()[0]] for _, label in rows] if listed else _classes(rows, named)
        named = ([*listed.values()] or in_order(classes)) if named is None else named
        finder = Finder(self.root, self.report)
        self.items, seen = [], {}
        for (name, _), label in zip(rows, classes, strict=True):
            if label not in named:
                raise DataError(f"{self.list}: expected classes among {', '.join(named)}, got {label!r}.", "names")
            path = finder.find(name, self.list, "list")
            if path is None:
                continue
            if seen.setdefault(path, label) != label:
                raise DataError(
                    f"{self.list}: expected one class for {name}, got {seen[path]!r} and {label!r}.", "list"
                )
            self.items.append((path, named.index(label)))
        if not self.items:
            raise finder.none_found(self.list, [name for name, _ in rows], "images")
        self.items = [*dict.fromkeys(self.items)]
        self.names = {"label": tuple(named)}

    def _names_of_ids(self, rows, named) -> dict[str, str]:
        """The names of the numbers in the list; {} if no list of classes has them."""
        if not all(_are_numbers(label) for _, label in rows):
            return {}
        used = {label.split()[0] for _, label in rows}
        places = [self.list.parent, *[self.list.parent.parent] * (self.list.parent.name.lower() in PLACES)]
        found = (listed_classes(place, used, named, self.report) for place in places)
        return next((listed for listed in found if used <= listed.keys()), {})

    def labels(self, number, size, fields):
        return {"label": number}

    @classmethod
    def recognize(cls, root):
        files, folder = split_files(root), child(root, _IMAGE_FOLDERS)
        for images in (folder, root) if files else ():
            rows = {} if images is None else {split: _rows(file, Finder(images)) for split, file in files.items()}
            if all(rows.values()) and rows and _are_certain(rows["train"]):
                return {split: {"list": str(file), "images": str(images)} for split, file in files.items()}
        return None

    @classmethod
    def recognize_for(cls, root, wanted):
        return cls.recognize(root) if not wanted or "label" in wanted else None


def _rows(file: Path, finder: Finder) -> list[tuple[str, str]]:
    """The lines of a list of images and classes; none if it is another one."""
    try:
        rows = labeled_lines(file)
    except DataError:
        return []
    known = (foreign_format(file) or (LIST,))[0] == LIST
    return rows if known and leads([name for name, _ in rows], finder) else []


def _are_certain(rows) -> bool:
    """Whether lines have classes: several images of one, and of several numbers one that goes with the names of files.

    Where the folders of the images say the same, the folders are the classes, whose names say more than numbers.
    """
    classes = _classes(rows, None)
    words = [label.split() for _, label in rows]
    if any(re.fullmatch(r"-?\d*\.\d+", word) for some in words for word in some):  # scores, or boxes
        return False
    several = any(len(some) > 1 and _are_numbers(label) for some, (_, label) in zip(words, rows, strict=True))
    folders = [Path(name.replace("\\", "/")).parent.name for name, _ in rows]
    same = _one_to_one(classes, folders)
    return 1 < len(set(classes)) < len(rows) and not same and not (several and any(map(_are_numbers, classes)))


def _classes(rows, names) -> list[str]:
    """The class of each line; for numbers the beginnings of the names of files, if each has one or `names` has them."""
    if not all(_are_numbers(label) for _, label in rows):
        return [label for _, label in rows]
    numbers = [label.split()[0] for _, label in rows]
    stems = [_NUMBERED.sub("", Path(name.replace("\\", "/")).stem) for name, _ in rows]
    several = len(set(stems)) < len(stems)  # of one image each, any names go one to one with the numbers
    alike = several and _one_to_one(numbers, stems) and all(stems) if names is None else set(stems) <= set(names)
    return stems if alike else numbers


def _one_to_one(some: list[str], others: list[str]) -> bool:
    return len({*zip(some, others, strict=True)}) == len({*some}) == len({*others}) > 1


def _are_numbers(label: str) -> bool:
    return re.fullmatch(r"-?\d+(\s+-?\d+)*", label) is not None
