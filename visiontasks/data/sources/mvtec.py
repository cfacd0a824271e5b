"""Normal images for training, and images with defects and their masks for testing, as MVTec AD has them."""

from pathlib import Path
from typing import Literal

import numpy as np

from visiontasks.arguments import Pixels
from visiontasks.data.images import MAX_PIXELS, list_images
from visiontasks.data.layout import child
from visiontasks.data.mask_images import read_mask
from visiontasks.data.sources.source import Files
from visiontasks.errors import BadImage, DataError
from visiontasks.sample import VOID

LABELS = ("good", "defect")
MASKS = ("background", "defect")
GOOD = "good"


class Mvtec(Files):
    """One category in MVTec AD's layout; gives `label` (good, defect) and `mask` (0 background, 1 defect).

    P. Bergmann et al. 2019, MVTec AD. An image of test/DEFECT has its mask in ground_truth/DEFECT/x_mask.png; without
    one its mask is void, and it counts as an image alone. Without the folder ground_truth there are labels alone.

    Args:
        root: the folder of the category, with train/good and test/good, test/DEFECT.
        split: train, the normal images of train/good; or test, all of test.
        max_pixels: larger images are skipped.

    Raises:
        DataError: the folder lacks train/good or test, or they hold no image.
    """

    LAYOUT = "MVTec AD: DIR/train/good/*.png, DIR/test/{good,DEFECT}/*.png, DIR/ground_truth/DEFECT/x_mask.png"
    fields = frozenset({"label", "mask"})

    def __init__(self, root: str, split: Literal["train", "test"] = "train", max_pixels: Pixels = MAX_PIXELS):
        super().__init__()
        self.root, self.split, self.max_pixels = Path(root), split, max_pixels
        self.normal_alone = split == "train"
        if not self.root.is_dir():
            raise DataError(f"expected a folder, got {self.root}, which is not a folder.", "root")
        folder = child(self.root, (split,))
        good = folder and child(folder, (GOOD,))
        if folder is None or (split == "train" and good is None):
            raise DataError(f"expected {self.root} to have {'train/good' if split == 'train' else 'test'}.", "root")
        truth = child(self.root, ("ground_truth",))
        self.names = {"label": LABELS, "mask": MASKS} if truth else {"label": LABELS}
        self.fields = frozenset(self.names)
        self.items = []
        for kind in [good] if split == "train" else sorted(path for path in folder.iterdir() if path.is_dir()):
            for path in list_images(kind):
                self.items.append((path, 0 if kind.name.lower() == GOOD else self._mask_of(path, kind.name, truth)))
        if not self.items:
            raise DataError(f"expected images in {good if split == 'train' else folder}, got none.", "root")

    def _mask_of(self, path, kind, truth) -> Path | None:
        """The mask of an image with a defect, or None."""
        if truth is None:
            return None
        names = (f"{path.stem}_mask.png", f"{path.stem}.png")
        found = next((truth / kind / name for name in names if (truth / kind / name).is_file()), None)
        if found is None:
            self.report.noted("image of a defect without a mask: not scored by pixels", str(path))
        return found

    def labels(self, item, size, fields):
        labels = {"label": int(item != 0)}
        if "mask" in fields:
            labels["mask"] = self._mask(item, size)
        return labels

    def _mask(self, item, size):
        if not isinstance(item, Path):
            return np.full(size, VOID if item is None else 0, np.int32)
        stored = read_mask(item, self.max_pixels)
        if stored.shape != size:
            raise BadImage(str(item), f"the mask's height and width are {stored.shape}, its image's {size}")
        return (stored > 0).astype(np.int32)

    @classmethod
    def recognize(cls, root):
        train, test = child(root, ("train",)), child(root, ("test",))
        if train is None or test is None:
            return None
        kinds = [path for path in train.iterdir() if path.is_dir()]
        if [path.name.lower() for path in kinds] != [GOOD] or not list_images(kinds[0]):
            return None
        if not any(path.is_dir() and list_images(path) for path in test.iterdir()):
            return None
        return {"train": {"root": str(root)}, "val": {"root": str(root), "split": "test"}}
