"""Finds the text files beside images that list the images of each split."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from visiontasks.data.finding import Finder
from visiontasks.data.text import read_lines
from visiontasks.errors import DataError

# folders beside the images
PLACES = ("meta", "lists", "list", "splits", "split", "annotations", "annotation", "labels", "imagesets")
_FILLERS = {"list", "lists", "image", "images", "img", "imgs", "file", "files", "filelist", "set", "split", "names"}
_SPLITS = {"train": "train", "training": "train", "trainval": "trainval", "test": "test", "testing": "test"}
_SPLITS |= dict.fromkeys(("val", "valid", "validation"), "val")
_PAIRS = (("train", "val"), ("trainval", "test"), ("train", "test"))
_OF_CUB, _IMAGES_OF_CUB = "train_test_split.txt", "images.txt"
_TRIED, _SURE = 50, 0.9  # first names, and the share of them that must be images
NOT_USED = "list of the images of a split, not used"


def find_lists(root: Path, images: Path) -> dict[str, dict[str, str]]:
    """{"train": {"list": file, maybe "split": its part}, "val": …} of the images in a folder; {} if it is not certain.

    That is one list for each of both, as food-101's meta/train.txt and meta/test.txt, or the train_test_split.txt of
    CUB-200. Nine of ten of the first names in a list must be images, and no name may be in both.

    Args:
        root: the folder in which, or in whose folders such as meta, the lists lie.
        images: the folder that the names are relative to; that of class folders, say.
    """
    files = split_files(root)
    found = {split: {"list": str(file)} for split, file in files.items()}
    if not files and (root / _OF_CUB).is_file() and (root / _IMAGES_OF_CUB).is_file():
        found = {"train": {"list": str(root / _OF_CUB), "split": "train"}}
        found["val"] = {**found["train"], "split": "test"}
    finder = Finder(images)
    try:
        lists = [names_in(Path(one["list"]), finder, one.get("split")) for one in found.values()]
    except DataError:  # text of something else
        return {}
    return found if all(leads(names, finder) for names in lists) and len(set().union(*lists)) == _count(lists) else {}


def split_files(root: Path) -> dict[str, Path]:
    """{"train": file, "val": file} of the only text files so named in a folder and in those beside the images."""
    by_split: dict[str, list[Path]] = {}
    for file in _files(root):
        if file.suffix.lower() == ".txt" and (split := _split_of(file.stem)):
            by_split.setdefault(split, []).append(file)
    single = {split: files[0] for split, files in by_split.items() if len(files) == 1}
    pair = next((pair for pair in _PAIRS if single.keys() >= {*pair}), ())
    return dict(zip(("train", "val"), (single[split] for split in pair), strict=False))


def names_in(file: Path, finder: Finder, split: str | None = None) -> list[str]:
    """The names of images in a list, each once; what follows a name in its line is left out.

    Args:
        file: a name a line, or CUB-200's train_test_split.txt of numbers and 1 or 0.
        finder: of the images.
        split: of the latter the part that is taken, train or test.

    Raises:
        DataError: it cannot be read.
    """
    lines = _lines(file)
    if file.name.lower() == _OF_CUB:
        chosen = {words[0] for words in map(str.split, lines) if words[-1] == str(int(split != "test"))}
        by_number = (line.split(maxsplit=1) for line in _lines(file.parent / _IMAGES_OF_CUB))
        lines = [name for number, *names in by_number if number in chosen for name in names]
    first = [line for line in lines[:_TRIED] if " " in line]
    whole = bool(first) and 2 * sum(map(finder.at_once, first)) > len(first)  # spaces in names
    names = (line if whole else line.split()[0] for line in lines)
    folder = f"{finder.root.name}/"
    return list(dict.fromkeys(name.replace("\\", "/").removeprefix(folder) for name in names))


def labeled_lines(file: Path) -> list[tuple[str, str]]:
    """(name, what follows it) of each line of a list.

    Raises:
        DataError: it cannot be read, is empty, or nothing follows a name.
    """
    rows = [tuple(re.split(r"[\s,;]+", line, maxsplit=1)) for line in _lines(file)]
    alone = next((row[0] for row in rows if len(row) < 2 or not row[1]), None)
    if alone is not None or not rows:
        raise DataError(f"{file}: expected an image and its class in each line, got {alone!r}.", "list")
    return rows


def tell_unused(root: Path, finder: Finder, report):
    """Report the lists of splits of a folder's images, which are not used."""
    for file in _files(root):
        words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", file.stem)}
        if words.isdisjoint(_SPLITS):
            continue
        if file.suffix.lower() == ".mat":
            report.noted(f"{NOT_USED}: MATLAB's format is not read", str(file))
        elif file.suffix.lower() == ".txt":
            try:
                names = names_in(file, finder)
            except DataError:
                continue
            if leads(names, finder):
                report.noted(NOT_USED, str(file))


def _split_of(stem: str) -> str | None:
    """The split of a list whose name says nothing else: train.txt, TrainImages.txt, test_list.txt; not train1.txt."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", stem)} - _FILLERS
    return _SPLITS.get(words.pop()) if len(words) == 1 else None


def _files(root: Path) -> Iterable[Path]:
    folders = [root, *sorted(p for p in root.iterdir() if p.name.lower() in PLACES and p.is_dir())]
    for folder in folders:
        yield from sorted(p for p in folder.iterdir() if p.suffix.lower() in (".txt", ".mat") and p.is_file())


def _lines(file) -> list[str]:
    return [line for line in read_lines(file, "a text file of image names", "list") if not line.startswith("#")]


def leads(names: Sequence[str], finder: Finder) -> bool:
    """Whether nine of ten of the first names in a list are images."""
    first = names[:_TRIED]
    return 0 < _SURE * len(first) <= sum(map(finder.at_once, first))


def _count(lists) -> int:
    return sum(map(len, lists))
