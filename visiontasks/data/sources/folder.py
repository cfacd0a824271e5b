"""Pictures sorted into one folder a class."""

import re
from collections.abc import Sequence
from pathlib import Path

from visiontasks.data.images import MAX_PIXELS, list_pictures, read_image
from visiontasks.data.layout import is_part, part_folders
from visiontasks.data.sources.source import Source
from visiontasks.errors import DataError
from visiontasks.sample import Sample

# folders that belong to other layouts; a folder of classes is recognised only without them
_OTHER_LAYOUTS = {"images", "masks", "labels", "annotations", "imagesets", "jpegimages", "segmentationclass"}
_PART_OF_A_YEAR = re.compile(r"(train|val|test)\d+")  # train2017


class Folder(Source):
    """Class folders: ROOT/CLASS/any.jpg; gives `label`.

    Args:
        root: the folder that holds one folder a class; pictures may lie deeper inside.
        names: the classes in their order; by default the folders with pictures, sorted. A class without pictures may
            be named; a folder that is not named is an error.
        max_pixels: larger pictures are skipped.

    Raises:
        DataError: no class folder, or one that `names` lacks.
    """

    LAYOUT = "two or more class folders: DIR/CLASS/*.jpg, or DIR/{train,val}/CLASS/*.jpg"
    fields = frozenset({"label"})

    def __init__(self, root: str, names: Sequence[str] | None = None, max_pixels: int = MAX_PIXELS):
        super().__init__()
        self.root, self.max_pixels = Path(root), max_pixels
        pictures = self._find_pictures()
        names = tuple(map(str, names)) if names is not None else tuple(sorted(pictures))
        unknown = [name for name in pictures if name not in names]
        if not names or unknown:
            raise DataError(
                f"{self.root}: expected a folder with pictures for each class"
                + (f" of names ({', '.join(names)}), got also {', '.join(unknown)}" if unknown else ", got none")
                + f". {self.LAYOUT}."
            )
        for name in names:
            if name not in pictures:
                self.report.add("class without pictures", name)
        self.names = {"label": names}
        self._items = [(path, number) for number, name in enumerate(names) for path in pictures.get(name, ())]

    def _find_pictures(self) -> dict[str, list[Path]]:
        if not self.root.is_dir():
            raise DataError(f"root: expected a folder, got {self.root}, which is none.")
        pictures = {}
        for folder in sorted(p for p in self.root.iterdir() if p.is_dir()):
            if folder.name.startswith("."):
                self.report.add("hidden folder, not taken for a class", str(folder))
                continue
            pictures[folder.name] = list_pictures(folder)
            if not pictures[folder.name]:
                self.report.add("folder without pictures, not taken for a class", str(folder))
                del pictures[folder.name]
        loose = list_pictures(self.root, recursive=False)
        for path in loose:
            self.report.add("picture outside the class folders, skipped", str(path))
        return pictures

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        path, number = self._items[index]
        image = read_image(path, self.report, self.max_pixels)
        return Sample(image, label=number, id=path.relative_to(self.root).as_posix(), path=str(path))

    def describe(self, index):
        return str(self._items[index][0])

    @classmethod
    def recognise(cls, root):
        parts = part_folders(root)
        if "val" not in parts and _has_classes(root):  # a folder called train may be a class of trains
            parts = {"train": root}
        if not _has_classes(parts["train"]):
            return None
        return {part: {"root": str(folder)} for part, folder in parts.items() if list_pictures(folder)}


def _has_classes(folder: Path) -> bool:
    """At least two folders with pictures directly inside, and no sign of another layout."""
    folders = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    names = [p.name.lower() for p in folders]
    # "train" alone may be a class beside bus and car; with a validation folder, or a year behind, it is a part
    parts = sum(map(is_part, names)) > 1 or any(map(_PART_OF_A_YEAR.fullmatch, names))
    if parts or any(name in _OTHER_LAYOUTS for name in names):
        return False
    return sum(bool(list_pictures(p, recursive=False)) for p in folders) >= 2
