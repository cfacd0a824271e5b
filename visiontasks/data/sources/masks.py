"""Pictures and, beside them, masks of class numbers."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.images import MAX_PIXELS, list_pictures, picture_size, read_image, read_mask
from visiontasks.data.layout import child, is_part, part_folders, read_names
from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Source
from visiontasks.errors import BadPicture, DataError
from visiontasks.sample import VOID, Sample

_IMAGE_FOLDERS = ("images", "image", "imgs", "img")
_MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "segmentation", "segmentations")
_MASK_SUFFIX = re.compile(r"[_-](masks?|labels?|seg|segmentation|gt|annotation)$", re.IGNORECASE)
_NAMES_FILES = ("classes.txt", "names.txt")


class Masks(Source):
    """Pictures and masks of class numbers (PNG), matched by file name; gives `mask`.

    A mask is called as its picture, or has a suffix such as _mask; it may lie in the same folder. 255 is void.

    Args:
        images: the folder of pictures; subfolders are matched too.
        masks: the folder of masks.
        names: the classes by number, 0 first (often the background). By default the lines of classes.txt or names.txt
            beside the masks; else the numbers up to the largest in any mask.
        values: the pixel values that stand for class 0, 1, …, such as [0, 255]; by default each value is its class.
        max_pixels: larger pictures are skipped.

    Raises:
        DataError: no pair of files, a mask of colours, of another size than its picture, with values that no class
            has, or nothing but 0 and 255, or `names` in another order than the list beside the masks; the text names
            the file. Every mask is read once to know this.
    """

    LAYOUT = "pictures and masks: DIR/images/*.jpg and DIR/masks/*.png, or DIR/{images,masks}/{train,val}/…"
    fields = frozenset({"mask"})

    def __init__(
        self,
        images: str,
        masks: str,
        names: Sequence[str] | None = None,
        values: Sequence[int] | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__()
        self.images, self.masks, self.max_pixels = Path(images), Path(masks), max_pixels
        self.values = None if values is None else _table_of(values)
        for argument, folder in (("images", self.images), ("masks", self.masks)):
            if not folder.is_dir():
                raise DataError(f"{argument}: expected a folder, got {folder}, which is none.")
        beside = _names_beside(self.masks)
        if names is None:
            names = beside
        elif beside is not None:
            _check_order(tuple(map(str, names)), beside, self.masks)
        first_file = self._scan(self._match())
        if names is None:
            count = 1 + max((v for v in first_file if v != VOID), default=0) if values is None else len(values)
            names = [str(n) for n in range(count)]
        self.names = {"mask": tuple(map(str, names))}
        self._check_classes(first_file)
        if self.values is not None:
            self._classes_of_values = np.full(1 + max(VOID, *self.values), VOID, np.int32)
            self._classes_of_values[list(self.values)] = list(self.values.values())

    def _match(self) -> list[tuple[Path, Path]]:
        pictures, masks = list_pictures(self.images), {}
        for path in list_pictures(self.masks):
            masks[path.relative_to(self.masks).with_suffix("").as_posix()] = path
        if self.images.resolve() == self.masks.resolve():  # a mask must be told from a picture by its suffix
            masks = {key: path for key, path in masks.items() if _MASK_SUFFIX.search(key)}
            pictures = [path for path in pictures if not _MASK_SUFFIX.search(path.stem)]
        bare = {_MASK_SUFFIX.sub("", key): path for key, path in masks.items()}
        pairs = []
        for path in pictures:
            key = path.relative_to(self.images).with_suffix("").as_posix()
            mask = masks.get(key, bare.get(key))
            if mask is None:
                self.report.add("picture without a mask, skipped", str(path))
            else:
                pairs.append((path, mask))
        used = {mask for _, mask in pairs}
        for mask in masks.values():
            if mask not in used:
                self.report.add("mask without a picture, skipped", str(mask))
        if not pairs:
            seen = ", ".join(p.name for p in [*pictures[:1], *list(masks.values())[:1]])
            raise DataError(
                f"masks: expected in {self.masks} a mask for each picture in {self.images}, called as the picture or "
                f"with _mask behind; of {len(pictures)} pictures and {len(masks)} masks no two go together"
                + (f" (such as {seen})." if seen else ".")
            )
        return pairs

    def _scan(self, pairs) -> dict[int, Path]:
        """Fill `_pairs` with the readable ones; {mask value: the first file with it}."""
        self._pairs, first_file = [], {}
        for pair, found in zip(pairs, scan(self._look, pairs, "Checking masks"), strict=True):
            if isinstance(found, BadPicture):
                self.report.add(f"{found.reason}, skipped", found.path)
                continue
            self._pairs.append(pair)
            for value in found:
                first_file.setdefault(int(value), pair[1])
        if not self._pairs:
            raise DataError(f"masks: none of the {len(pairs)} pairs of picture and mask can be read.\n{self.report}")
        return first_file

    def _look(self, pair):
        """The values in a mask, or the BadPicture that it or its picture is."""
        try:
            size, mask = picture_size(pair[0], self.max_pixels), read_mask(pair[1], self.max_pixels)
        except BadPicture as error:
            return error
        if mask.shape != size:
            raise DataError(
                f"mask {pair[1]}: expected height and width {size} as of its picture {pair[0]} (upright, as "
                f"EXIF says), got {mask.shape}; masks are not resized: export this one again."
            )
        return np.flatnonzero(np.bincount(mask.ravel()))

    def _check_classes(self, first_file):
        if self.values is not None:
            unknown = [v for v in first_file if v != VOID and self.values.get(v) is None]
            if unknown:
                raise DataError(
                    f"mask {first_file[unknown[0]]}: expected the values {list(self.values)}, got {unknown[0]}; "
                    "add it to values= (in a command data.train.values=)."
                )
            first_file = {self.values.get(v, v): path for v, path in first_file.items()}
        elif set(first_file) <= {0, VOID} and VOID in first_file:
            raise DataError(
                f"mask {first_file[VOID]}: expected class numbers 0, 1, …, and 255 for void; the {len(self)} masks "
                "hold nothing but 0 and 255, so 255 seems to be the foreground; say so with values=[0,255] "
                "(in a command data.train.values=[0,255])."
            )
        count = len(self.names["mask"])
        if not 1 <= count <= VOID:
            raise DataError(
                f"mask {first_file[max(first_file)]}: expected 1 to {VOID} classes (255 is void), got {count}; "
                "do the masks hold instance numbers or grey values rather than classes?"
            )
        for value, path in sorted(first_file.items()):
            if value >= count and value != VOID:
                raise DataError(
                    f"mask {path}: expected class numbers below {count} (names: {', '.join(self.names['mask'])}) or "
                    f"255 for void, got {value}; name every class, or mend the mask."
                )
        for number, name in enumerate(self.names["mask"]):
            if number not in first_file:
                self.report.add("class that no mask holds", name)

    def __len__(self):
        return len(self._pairs)

    def __getitem__(self, index):
        path, mask_path = self._pairs[index]
        image, mask = read_image(path, self.report, self.max_pixels), read_mask(mask_path, self.max_pixels)
        if self.values is not None:
            mask = self._classes_of_values[mask]
        name = path.relative_to(self.images).as_posix()
        return Sample(image, mask=mask, id=name, path=str(path))

    def describe(self, index):
        return str(self._pairs[index][0])

    @classmethod
    def recognise(cls, root):
        images, masks = child(root, _IMAGE_FOLDERS), child(root, _MASK_FOLDERS)
        if images is not None and masks is not None:  # DIR/images/train, or DIR/images
            pictures, labels = part_folders(images), part_folders(masks)
        else:  # DIR/train/images
            pictures, labels = {}, {}
            for part, folder in part_folders(root).items():
                images, masks = child(folder, _IMAGE_FOLDERS), child(folder, _MASK_FOLDERS)
                if images is not None and masks is not None:
                    pictures[part], labels[part] = images, masks
        shared = [part for part in pictures if part in labels]
        if "train" not in shared or not list_pictures(pictures["train"]) or not list_pictures(labels["train"]):
            return None
        return {part: {"images": str(pictures[part]), "masks": str(labels[part])} for part in shared}


def _table_of(values) -> dict[int, int]:
    """{pixel value: class number}."""
    table = {int(value): number for number, value in enumerate(values)}
    if not values or len(table) < len(values) or not all(0 <= value < 2**16 for value in table):
        raise DataError(f"values: expected different pixel values from 0 to 65535, one a class, got {list(values)}.")
    return table


def _check_order(names, beside, masks):
    """A run that knows (sky, sea) must not be scored on masks whose list says (sea, sky)."""
    for number, name in enumerate(beside):
        if name in names and names.index(name) != number:
            raise DataError(
                f"names: {name!r} is class {names.index(name)} there and class {number} in the list beside {masks}; "
                "give both one order, and the masks their numbers by it."
            )


def _names_beside(masks: Path) -> tuple[str, ...] | None:
    folders = [masks, masks.parent]
    if is_part(masks.name):  # DIR/masks/train: the list lies in DIR
        folders.append(masks.parent.parent)
    files = [folder / name for folder in folders for name in _NAMES_FILES]
    return next((read_names(file) for file in files if file.is_file()), None)
