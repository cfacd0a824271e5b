"""Masks of single objects in image files: an index image for each image, or a file for each object."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from scipy.ndimage import find_objects

from visiontasks.arguments import Count
from visiontasks.data.images import MAX_PIXELS, image_size, list_images, read_mask
from visiontasks.data.layout import child, split_folders
from visiontasks.data.objects import Objects, usable_boxes
from visiontasks.data.sources.source import ObjectFiles
from visiontasks.errors import DataError
from visiontasks.instance_masks import InstanceMasks, Patch

_SUFFIX = re.compile(r"[_-](masks?|instances?|labels?|ids?|gt)$", re.IGNORECASE)
_MASK_FOLDERS = ("instances", "instance_masks", "instance")


class Instances(ObjectFiles):
    """Objects of one class, whose masks are image files; gives `boxes`, `classes`, `instance_masks`, `mask`, ….

    Either an index image for each image, with its name (or its name and a suffix, such as _mask): 0 is background, each
    other number is an object, 8 or 16 bits. Or, as in the Data Science Bowl 2018, a folder for each image, with the
    image in `images` and a file for each object in `masks`, in which every value but 0 belongs to it.

    Args:
        images: the folder of images, or of the folders for each image.
        masks: the folder of index images; None: each image has a folder of its own.
        names: the name of the class.
        max_pixels: larger images are skipped.

    Raises:
        DataError: a folder is missing, there is no pair or no object, or a mask has another size than its image; the
            text names the file. To check this, every mask is read once.
    """

    LAYOUT = (
        "masks of objects: DIR/images/*.png and DIR/instances/*.png of object numbers, or DIR/ID/images/*.png and "
        "DIR/ID/masks/*.png, a file for each object"
    )
    fields = ObjectFiles.fields | {"instance_masks", "mask"}

    def __init__(
        self,
        images: str,
        masks: str | None = None,
        names: Sequence[str] = ("object",),
        max_pixels: Count = MAX_PIXELS,
    ):
        super().__init__()
        self.root, self.masks, self.max_pixels = Path(images), masks, max_pixels
        for argument, folder in (("images", images), ("masks", masks)):
            if folder is not None and not Path(folder).is_dir():
                raise DataError(f"expected a folder {folder}, got none.", argument)
        if len(names) != 1:
            raise DataError(
                f"expected the name of one class, because masks tell no classes, got {list(names)}.", "names"
            )
        self.name_classes(names)
        pairs = _folders(self.root) if masks is None else self._index_images(Path(masks))
        if not pairs:
            raise DataError(
                f"expected images with masks, got none. {self.LAYOUT}.", "images" if masks is None else "masks"
            )
        self.items = [
            (path, self._objects(size, runs))
            for (path, _), (size, runs) in self.readable(self._look, pairs, "Checking masks")
        ]
        self.check_objects(self.root if masks is None else masks, "masks with an object")

    def _index_images(self, folder) -> list[tuple[Path, list[Path]]]:
        """(image, [its index image]) of each image that has one."""
        images, pairs = list_images(self.root), []
        by_name = {path.relative_to(folder).with_suffix("").as_posix(): path for path in list_images(folder)}
        by_name |= {bare: path for name, path in by_name.items() if (bare := _SUFFIX.sub("", name)) not in by_name}
        for path in images:
            mask = by_name.get(path.relative_to(self.root).with_suffix("").as_posix())
            if mask is None:
                self.report.add("image without a mask, skipped", str(path))
            else:
                pairs.append((path, [mask]))
        return pairs

    def _look(self, pair):
        """The size of an image, and the run lengths of each of its objects."""
        path, files = pair
        size, runs = image_size(path, self.max_pixels), []
        for file in files:
            mask = read_mask(file, self.max_pixels)
            if mask.shape != size:
                raise DataError(
                    f"mask {file}: expected the height and width {size} of its image {path}, got {mask.shape}; masks "
                    "are not resized: export this one again."
                )
            labels = mask if self.masks is not None else (mask > 0).astype(np.uint8)
            windows = [(number, window) for number, window in enumerate(find_objects(labels), start=1) if window]
            if not windows and self.masks is None:
                self.report.add("mask without a pixel, skipped", str(file))
            patches = [
                Patch(across.start, down.start, (labels[down, across] == number).astype(np.uint8))
                for number, (down, across) in windows
            ]
            masks = InstanceMasks(patches, size)
            runs += map(masks.rle, range(len(masks)))
        return size, runs

    def _objects(self, size, runs) -> Objects:
        boxes = np.array([coco_mask.toBbox(one) for one in runs], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes, _ = usable_boxes(boxes, size, [""] * len(runs), self.report)
        return Objects(boxes, np.zeros(len(runs), np.int32), np.zeros(len(runs), bool), masks=tuple(runs))

    @classmethod
    def recognize(cls, root):
        images, masks = child(root, ("images",)), child(root, _MASK_FOLDERS)
        if images is not None and masks is not None:
            images, masks = split_folders(images), split_folders(masks)
            if images.keys() != masks.keys():
                return None
            return {split: {"images": str(images[split]), "masks": str(masks[split])} for split in images}
        homes = {split: _home(folder) for split, folder in split_folders(root).items()}
        return None if None in homes.values() else {split: {"images": str(home)} for split, home in homes.items()}


def _home(folder: Path) -> Path | None:
    """The folder of folders for each image: itself, or the first in it, such as stage1_train."""
    candidates = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    return next((one for one in candidates[:20] if _folders(one, first=True)), None)


def _folders(root: Path, first: bool = False) -> list[tuple[Path, list[Path]]]:
    """(image, [the mask of each object]) of each folder for one image; of the first alone if that is asked for."""
    pairs = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if (folder / "images").is_dir() and (folder / "masks").is_dir():
            images = list_images(folder / "images", recursive=False)
            if len(images) == 1:
                pairs.append((images[0], list_images(folder / "masks", recursive=False)))
        if pairs and first:
            break
    return pairs
