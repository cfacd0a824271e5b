"""Images and masks of class indices or colors, in files of similar names."""

from collections.abc import Sequence
from pathlib import Path

from visiontasks.arguments import Pixels
from visiontasks.data.finding import Finder
from visiontasks.data.images import MAX_PIXELS, image_size
from visiontasks.data.mask_classes import classes_of
from visiontasks.data.mask_files import pairs_of
from visiontasks.data.mask_folders import other_folders, recognize
from visiontasks.data.mask_images import read_stored_mask
from visiontasks.data.mask_tables import cityscapes, table_beside
from visiontasks.data.mask_values import Stored, Stores
from visiontasks.data.sources.source import Files
from visiontasks.data.split_lists import names_in, tell_unused
from visiontasks.errors import BadImage, DataError
from visiontasks.sample import VOID


class Masks(Files):
    """Images and masks of class indices or colors, matched by file name; gives `mask`.

    A mask has the name of its image, or one that tools make of it (x_mask, x_L, x_gtFine_labelIds); it may lie in the
    same folder. The value 255 is void. A table of classes in the folder of the masks or above it gives names, and the
    color or value of each: labelmap.txt (CVAT), label_colors.txt (CamVid), class_dict.csv, _classes.csv (Roboflow), or
    names alone in classes.txt, names.txt or class_names.txt (labelme).

    Args:
        images: the folder of images; subfolders are matched too.
        masks: the folder of masks.
        names: the classes by index, 0 first (often the background). By default those of the table; without one, the
            values up to the largest in any mask, or the colors as #rrggbb, and such names tell the values and colors.
        values: the pixel values of class 0, 1, …, such as [0, 255]; by default each value is the class index. Soft
            edges, and what JPEG makes of a value, get the class of the nearest.
        colors: the colors [r, g, b] of class 0, 1, …, or {name: [r, g, b]}, instead of a table beside the masks.
        void: a class or value, or a list of classes, values or colors [r, g, b], that do not count: they are neither
            learned nor scored.
        list: a text file with the name of an image a line, as VOC's ImageSets/Segmentation/train.txt; by default all
            images are taken.
        max_pixels: larger images are skipped.

    Raises:
        DataError: no image has a mask; a mask has another size than its image; its colors or values have no class, are
            only 0 and 255, or leave gaps, as gray levels do; or `names` has another order than the list beside the
            masks. The text names the file, and the values with their shares. To check this, every mask is read once.
    """

    LAYOUT = (
        "images and masks: DIR/images/*.jpg and DIR/masks/*.png, DIR/{train,val}/x.jpg and x_mask.png, "
        "DIR/JPEGImages and DIR/SegmentationClass, or other folders with matching names"
    )
    fields = frozenset({"mask"})

    def __init__(
        self,
        images: str,
        masks: str,
        names: Sequence[str] | None = None,
        values: Sequence[int] | None = None,
        max_pixels: Pixels = MAX_PIXELS,
        colors: dict[str, Sequence[int]] | Sequence[Sequence[int]] | None = None,
        void: int | str | Sequence[int | str | Sequence[int]] | None = None,
        list: str | None = None,
    ):
        super().__init__()
        self.images = self.root = Path(images)
        self.masks, self.max_pixels = Path(masks), max_pixels
        for argument, folder in (("images", self.images), ("masks", self.masks)):
            if not folder.is_dir():
                raise DataError(f"expected a folder, got {folder}, which is not a folder.", argument)
        pairs = self._pairs(list)
        stored, others = [], []
        self.items = []
        for pair, (size, one) in self.readable(self._look, pairs, "Checking masks"):
            self.items.append(pair)
            stored.append((pair[1], one))
            if size != one.size:
                others.append((pair, size, one.size))
        if not self.items:
            raise DataError(f"none of the {len(pairs)} pairs of image and mask can be read.\n{self.report}", "masks")
        if others:
            raise _sizes_error(others, len(pairs))
        table = table_beside(self.masks) or cityscapes(pairs[0][1])
        stores = Stores(stored)
        names, self.lookup = classes_of(stores, names, values, colors, void, table, self.report)
        self.names = {"mask": names}
        if table is None and values is None and colors is None and stores.seem_numbers():
            what = "masks whose values run from 1 without gaps, to other ends, as numbers of objects (source=instances)"
            self.report.noted(what, str(self.masks))

    def _pairs(self, file) -> list[tuple[Path, Path]]:
        finder = Finder(self.images)
        names = None if file is None else names_in(Path(file), finder)
        if names is None:
            tell_unused(self.images.parent, finder, self.report)
        pairs = pairs_of(self.images, self.masks, self.report, names)
        for folder in other_folders(self.images, self.masks):
            self.report.noted("other folder that could be the masks (choose it with masks=)", str(folder))
        return pairs

    def _look(self, pair):
        """(the height and width of an image, what its mask stores)."""
        return image_size(pair[0], self.max_pixels), Stored.of(read_stored_mask(pair[1], self.max_pixels))

    def labels(self, path, size, fields):
        mask = self.lookup(read_stored_mask(path, self.max_pixels), path)
        beyond = mask[mask != VOID].max(initial=0) >= len(self.names["mask"])
        if beyond or mask.shape != size:
            raise BadImage(path, "mask that has changed since it was checked")
        return {"mask": mask}

    @classmethod
    def recognize(cls, root):
        return recognize(root)


def _sizes_error(others, count) -> DataError:
    """The error for masks of another size than their images: [((image, mask), (height, width), that of the mask)]."""
    (image, mask), size, got = others[0]
    more = "" if len(others) == 1 else f", and so have {len(others)} of {count} masks another size than their images"
    return DataError(
        f"mask {mask}: expected the height and width {size} of its image {image} (upright, as EXIF says), got "
        f"{got}{more}; masks are not resized: export them again."
    )
