"""The folder names that data sets use: for splits, images, masks and lists of classes."""

import itertools
import re
from pathlib import Path

from visiontasks.data.text import read_lines
from visiontasks.errors import DataError

VALIDATION = ("val", "valid", "validation", "test")  # the first one that exists is the validation set
TRAINING = ("train", "training")
RESULTS = ".visiontasks"  # a file of this name marks a folder of results, which is never read as data


def split_folders(root: Path) -> dict[str, Path]:
    """{"train": …, "val": …} of a folder with splits ("val" only if it exists); otherwise {"train": root}.

    Without a folder train, two that begin so are splits, such as train_zip and test_zip. Of one that holds nothing but
    a folder of its split, as train/train, it is that.
    """
    folders = {p.name.lower(): p for p in sorted(root.iterdir()) if p.is_dir()}
    train = next((folders[n] for n in TRAINING if n in folders), None)
    val = next((folders[n] for n in VALIDATION if n in folders), None)
    if train is None:
        train, val = _begins(folders, TRAINING), val or _begins(folders, VALIDATION)
        if train is None or val is None:
            return {"train": root}
    return {"train": _within(train, TRAINING)} | ({} if val is None else {"val": _within(val, VALIDATION)})


def _begins(folders: dict[str, Path], words: tuple[str, ...]) -> Path | None:
    """The only folder whose name begins with the first word that one begins with, and a mark or number after it."""
    for word in words:
        found = [path for name, path in folders.items() if re.match(rf"{word}[\W_\d]", name)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _within(folder: Path, words: tuple[str, ...]) -> Path:
    """The folder, or the only thing in it, if that is a folder named for the same split."""
    inside = [*itertools.islice(folder.iterdir(), 2)]
    single = len(inside) == 1 and inside[0].is_dir() and inside[0].name.lower() in (*words, folder.name.lower())
    return inside[0] if single else folder


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def is_split(name: str) -> bool:
    """Whether a folder of that name holds a training or validation set."""
    return name.lower() in (*TRAINING, *VALIDATION)


def in_results(path: Path) -> bool:
    """Whether a file lies in a folder of results, however deep."""
    return any((folder / RESULTS).exists() for folder in Path(path).parents)


def child(root: Path, names: tuple[str, ...]) -> Path | None:
    """The folder in `root` with the first of the names that exists, in any case; or None."""
    folders = {p.name.lower(): p for p in sorted(root.iterdir()) if p.is_dir()}
    return next((folders[n] for n in names if n in folders), None)


def read_names(path: Path, argument: str | None = None) -> tuple[str, ...]:
    """The class names in a text file, one per line, in the order of their indices.

    Raises:
        DataError: the file has no name, or one name twice, or as `read_text`.
    """
    names = tuple(read_lines(path, "a list of classes such as classes.txt", argument))
    if not names or len(set(names)) < len(names):
        twice = next((n for n in names if names.count(n) > 1), None)
        raise DataError(
            f"{path}: expected one unique class name per line, got " + (f"{twice!r} twice." if names else "none.")
        )
    return names
