"""Masks of single objects in image files: an index image for each image, or a file for each object."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from scipy.ndimage import find_objects

from visiontasks.arguments import Pixels
from visiontasks.data import mask_folders
from visiontasks.data.images import MAX_PIXELS, image_size, list_images
from visiontasks.data.layout import child, folders_in, split_folders
from visiontasks.data.mask_images import read_mask
from visiontasks.data.objects import Objects, usable_boxes
from visiontasks.data.sources.source import ObjectFiles
from visiontasks.errors import BadImage, DataError
from visiontasks.instance_masks import InstanceMasks
from visiontasks.mask_shapes import Patch

_SUFFIX = re.compile(r"[_-](masks?|instances?|labels?|ids?|gt)$", re.IGNORECASE)
_TRIED = 20  # masks that recognition looks at
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
        components: whether each connected part of a mask is an object of its own, as in masks of 0 and 255. By default
            not, but masks that look like these are an error.
        max_pixels: larger images are skipped.

    Raises:
        DataError: a folder is missing, there is no pair or no object, a mask has another size than its image, or the
            index images number no objects; the text names the file. To check this, every mask is read once.
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
        components: bool | None = None,
        max_pixels: Pixels = MAX_PIXELS,
    ):
        super().__init__()
        self.root, self.masks, self.components, self.max_pixels = Path(images), masks, components, max_pixels
        for argument, folder in (("images", images), ("masks", masks)):
            if folder is not None and not Path(folder).is_dir():
                raise DataError(f"expected a folder {folder}, got none.", argument)
        if len(names) != 1:
            raise DataError(f"expected the name of one class, because a mask has no class, got {list(names)}.", "names")
        self.name_classes(names)
        pairs = list(_folders(self.root, self.report)) if masks is None else self._index_images(Path(masks))
        if not pairs:
            report = f"\n{self.report}" if self.report else ""
            raise DataError(
                f"expected images with masks, got none. {self.LAYOUT}.{report}", "images" if masks is None else "masks"
            )
        self.items, parts = [], {}
        for (path, files), (size, runs, single) in self.readable(self._look, pairs, "Checking masks"):
            self.items.append((path, self._objects(size, runs)))
            if runs:
                parts[files[0]] = single
        if masks is not None and components is None:
            self._check_numbers(parts)
        self.check_objects(self.root if masks is None else masks, "masks with an object")

    def _index_images(self, folder) -> list[tuple[Path, list[Path]]]:
        """(image, [its index image]) of each image that has one."""
        images, pairs = list_images(self.root, report=self.report), []
        by_name = {path.relative_to(folder).with_suffix("").as_posix(): path for path in list_images(folder)}
        by_name |= {bare: path for name, path in by_name.items() if (bare := _SUFFIX.sub("", name)) not in by_name}
        for path in images:
            mask = by_name.get(path.relative_to(self.root).with_suffix("").as_posix())
            if mask is None:
                self.report.skipped("image without a mask, skipped", str(path))
            else:
                pairs.append((path, [mask]))
        used = {mask for _, (mask,) in pairs}
        for mask in dict.fromkeys(by_name.values()):
            if mask not in used:
                self.report.skipped("mask without an image, skipped", str(mask))
        return pairs

    def _check_numbers(self, parts):
        """Raise if all index images have the same single number, and several have it in several places.

        Args:
            parts: {index image with an object: (its only number, of how many connected parts)}; (0, 0): it has several.
        """
        values = {value for value, _ in parts.values()}
        split = [file for file, (_, count) in parts.items() if count > 1]
        if len(values) == 1 and len(split) >= min(2, len(parts)) > 0:
            raise DataError(
                f"expected masks with a number for each object, got {values.pop()} alone in all {len(parts)}, and in "
                f"{len(split)} of them several connected parts, such as {split[0]}. If each part is an object, it is "
                "true; if all parts of a mask are one object, false; and masks of classes are for the source masks.",
                "components",
                fix="true",
            )

    def _look(self, pair):
        """The size of an image, the run lengths of each of its objects, and its number as `_check_numbers` has it."""
        path, files = pair
        size, runs, single = image_size(path, self.max_pixels), [], (0, 0)
        for file in files:
            mask = read_mask(file, self.max_pixels)
            if mask.shape != size:
                raise DataError(
                    f"mask {file}: expected the height and width {size} of its image {path}, got {mask.shape}; masks "
                    "are not resized: export this one again."
                )
            labels = mask if self.masks is not None else (mask > 0).astype(np.uint8)
            patches = _patches(labels)
            if not patches and self.masks is None:
                self.report.skipped("mask without a pixel, skipped", str(file))
            if len(patches) == 1 and self.masks is not None and self.components is None:
                single = int(labels.max()), len(_parts(patches[0]))
            if self.components:
                patches = [part for patch in patches for part in _parts(patch)]
            masks = InstanceMasks(patches, size)
            runs += map(masks.rle, range(len(masks)))
        return size, runs, single

    def _objects(self, size, runs) -> Objects:
        boxes = np.array([coco_mask.toBbox(one) for one in runs], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes, _ = usable_boxes(boxes, size, [""] * len(runs), self.report)
        return Objects(boxes, np.zeros(len(runs), np.int32), np.zeros(len(runs), bool), masks=tuple(runs))

    @classmethod
    def recognize_for(cls, root, wanted):
        found = cls.recognize(root)
        if found or "instance_masks" not in wanted:
            return found
        plan = mask_folders.recognize(root)  # in folders whose names do not say what the masks hold
        plan = plan if isinstance(plan, dict) and not any("list" in one for one in plan.values()) else {}
        return plan if plan and all(_numbered(one["masks"]) for one in plan.values()) else None

    @classmethod
    def recognize(cls, root):
        images, masks = child(root, ("images",)), child(root, _MASK_FOLDERS)
        if images is not None and masks is not None:
            images, masks = split_folders(images), split_folders(masks)
            if images.keys() != masks.keys():
                return None
            return {split: {"images": str(images[split]), "masks": str(masks[split])} for split in images}
        folders = split_folders(root)
        homes = {split: _home(folder) for split, folder in folders.items()}
        if homes.get("val", root) is None and folders["val"].name.lower().startswith("test"):
            del homes["val"]  # a test set has no masks
        return None if None in homes.values() else {split: {"images": str(home)} for split, home in homes.items()}


def _numbered(folder: str) -> bool:
    """Whether the first masks in a folder number objects: each from 1 without gaps, and not all to the same."""
    counts = set()
    for file in list_images(Path(folder))[:_TRIED]:
        try:
            mask = read_mask(file)
        except (BadImage, DataError):
            return False
        values = np.unique(mask)
        counts.add(int(values[-1]))
        if len(values[values > 0]) != values[-1]:
            return False
    return len(counts) > 1


def _patches(labels, left: int = 0, top: int = 0) -> list[Patch]:
    """The pixels of each number but 0 in a window of an image."""
    return [
        Patch(left + window[1].start, top + window[0].start, (labels[window] == number).astype(np.uint8))
        for number, window in enumerate(find_objects(labels), start=1)
        if window
    ]


def _parts(patch: Patch) -> list[Patch]:
    """Its connected parts; pixels that touch at a corner are connected."""
    return _patches(cv2.connectedComponents(patch.pixels)[1], patch.left, patch.top)


def _home(folder: Path) -> Path | None:
    """The folder of folders for each image: itself, or the first in it, such as stage1_train."""
    candidates = [folder, *folders_in(folder)]
    return next((one for one in candidates[:20] if next(_folders(one), None)), None)


def _folders(root: Path, report=None) -> Iterator[tuple[Path, list[Path]]]:
    """(image, [the mask of each object]) of each folder for one image; other folders go to `report`."""
    for folder in folders_in(root):
        images = list_images(folder / "images", recursive=False)  # none if the folder is missing
        if len(images) == 1 and (folder / "masks").is_dir():
            yield images[0], list_images(folder / "masks", recursive=False)
        elif report is not None:
            report.skipped("folder without a single image in images, or without masks, skipped", str(folder))
