"""Images and masks of class indices, in files of the same name."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.arguments import Count
from visiontasks.data.images import MAX_PIXELS, image_size, list_images, read_mask
from visiontasks.data.layout import child, is_split, read_names, split_folders
from visiontasks.data.sources.source import Files
from visiontasks.errors import DataError
from visiontasks.sample import VOID

_IMAGE_FOLDERS = ("images", "image", "imgs", "img")
_MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "segmentation", "segmentations")
_MASK_SUFFIX = re.compile(r"[_-](masks?|labels?|seg|segmentation|gt|annotation)$", re.IGNORECASE)
_NAMES_FILES = ("classes.txt", "names.txt")


class Masks(Files):
    """Images and masks of class indices (PNG), matched by file name; gives `mask`.

    A mask has the name of its image, or a suffix such as _mask; it may lie in the same folder. 255 is void.

    Args:
        images: the folder of images; subfolders are matched too.
        masks: the folder of masks.
        names: the classes by index, 0 first (often the background). By default the lines of classes.txt or names.txt
            beside the masks; without such a file, the numbers up to the largest in any mask.
        values: the pixel values of class 0, 1, …, such as [0, 255]; by default each value is the class index.
        max_pixels: larger images are skipped.

    Raises:
        DataError: no image has a mask; a mask has colors, another size than its image, values without a class, or only
            0 and 255; or `names` has another order than the list beside the masks. The text names the file. To check
            this, every mask is read once.
    """

    LAYOUT = "images and masks: DIR/images/*.jpg and DIR/masks/*.png, or DIR/{images,masks}/{train,val}/…"
    fields = frozenset({"mask"})

    def __init__(
        self,
        images: str,
        masks: str,
        names: Sequence[str] | None = None,
        values: Sequence[int] | None = None,
        max_pixels: Count = MAX_PIXELS,
    ):
        super().__init__()
        self.images = self.root = Path(images)
        self.masks, self.max_pixels = Path(masks), max_pixels
        self.values = None if values is None else _table_of(values)
        for argument, folder in (("images", self.images), ("masks", self.masks)):
            if not folder.is_dir():
                raise DataError(f"expected a folder, got {folder}, which is not a folder.", argument)
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
        images, masks = list_images(self.images, report=self.report), {}
        for path in list_images(self.masks):
            masks[path.relative_to(self.masks).with_suffix("").as_posix()] = path
        if self.images.resolve() == self.masks.resolve():  # only the suffix tells a mask from an image
            masks = {key: path for key, path in masks.items() if _MASK_SUFFIX.search(key)}
            images = [path for path in images if not _MASK_SUFFIX.search(path.stem)]
        bare = {_MASK_SUFFIX.sub("", key): path for key, path in masks.items()}
        pairs = []
        for path in images:
            key = path.relative_to(self.images).with_suffix("").as_posix()
            mask = masks.get(key, bare.get(key))
            if mask is None:
                self.report.add("image without a mask, skipped", str(path))
            else:
                pairs.append((path, mask))
        used = {mask for _, mask in pairs}
        for mask in masks.values():
            if mask not in used:
                self.report.add("mask without an image, skipped", str(mask))
        if not pairs:
            seen = ", ".join(p.name for p in [*images[:1], *list(masks.values())[:1]])
            raise DataError(
                f"expected in {self.masks} a mask for each image in {self.images}, with the image's name or "
                f"with _mask added to it; got {len(images)} images and {len(masks)} masks, but no pair"
                + (f" (such as {seen})." if seen else "."),
                "masks",
            )
        return pairs

    def _scan(self, pairs) -> dict[int, Path]:
        """Set `items` to the readable pairs; return {mask value: the first file that has it}."""
        self.items, first_file = [], {}
        for pair, values in self.readable(self._look, pairs, "Checking masks"):
            self.items.append(pair)
            for value in values:
                first_file.setdefault(int(value), pair[1])
        if not self.items:
            raise DataError(f"none of the {len(pairs)} pairs of image and mask can be read.\n{self.report}", "masks")
        return first_file

    def _look(self, pair):
        """The values in a mask."""
        size, mask = image_size(pair[0], self.max_pixels), read_mask(pair[1], self.max_pixels)
        if mask.shape != size:
            raise DataError(
                f"mask {pair[1]}: expected the height and width {size} of its image {pair[0]} (upright, as "
                f"EXIF says), got {mask.shape}; masks are not resized: export this one again."
            )
        return np.flatnonzero(np.bincount(mask.ravel()))

    def _check_classes(self, first_file):
        if self.values is not None:
            unknown = [v for v in first_file if v != VOID and self.values.get(v) is None]
            if unknown:
                raise DataError(
                    f"mask {first_file[unknown[0]]}: expected the values {list(self.values)}, got {unknown[0]}; "
                    "add it.",
                    "values",
                )
            first_file = {self.values.get(v, v): path for v, path in first_file.items()}
        elif set(first_file) <= {0, VOID} and VOID in first_file:
            raise DataError(
                f"mask {first_file[VOID]}: expected class indices 0, 1, …, and 255 for void; the {len(self)} masks "
                "contain only 0 and 255, so 255 seems to be the foreground.",
                "values",
                fix="[0,255]",
            )
        count = len(self.names["mask"])
        if not 1 <= count <= VOID:
            raise DataError(
                f"mask {first_file[max(first_file)]}: expected 1 to {VOID} classes (255 is void), got {count}; "
                "do the masks hold instance numbers or gray values instead of classes?"
            )
        for value, path in sorted(first_file.items()):
            if value >= count and value != VOID:
                raise DataError(
                    f"mask {path}: expected class indices below {count} (names: {', '.join(self.names['mask'])}) or "
                    f"255 for void, got {value}; name every class, or correct the mask."
                )
        for number, name in enumerate(self.names["mask"]):
            if number not in first_file:
                self.report.add("class that occurs in no mask", name)

    def labels(self, path, size, fields):
        mask = read_mask(path, self.max_pixels)
        return {"mask": mask if self.values is None else self._classes_of_values[mask]}

    @classmethod
    def recognize(cls, root):
        images, masks = child(root, _IMAGE_FOLDERS), child(root, _MASK_FOLDERS)
        if images is not None and masks is not None:  # DIR/images/train, or DIR/images
            images, masks = split_folders(images), split_folders(masks)
        else:  # DIR/train/images
            folders = split_folders(root).items()
            images = {split: path for split, folder in folders if (path := child(folder, _IMAGE_FOLDERS))}
            masks = {split: path for split, folder in folders if (path := child(folder, _MASK_FOLDERS))}
        shared = [split for split in images if split in masks]
        if "train" not in shared or not list_images(images["train"]) or not list_images(masks["train"]):
            return None
        return {split: {"images": str(images[split]), "masks": str(masks[split])} for split in shared}


def _table_of(values) -> dict[int, int]:
    """{pixel value: class index}."""
    table = {int(value): number for number, value in enumerate(values)}
    if not values or len(table) < len(values) or not all(0 <= value < 2**16 for value in table):
        raise DataError(f"expected unique pixel values from 0 to 65535, one per class, got {list(values)}.", "values")
    return table


def _check_order(names, beside, masks):
    """A model trained on (sky, sea) must not be scored on masks whose list says (sea, sky)."""
    for number, name in enumerate(beside):
        if name in names and names.index(name) != number:
            raise DataError(
                f"{name!r} is class {names.index(name)} in names and class {number} in the list beside {masks}; "
                "use one order for both, and class indices of that order in the masks.",
                "names",
            )


def _names_beside(masks: Path) -> tuple[str, ...] | None:
    folders = [masks, masks.parent]
    if is_split(masks.name):  # DIR/masks/train: the list lies in DIR
        folders.append(masks.parent.parent)
    files = [folder / name for folder in folders for name in _NAMES_FILES]
    return next((read_names(file) for file in files if file.is_file()), None)
