"""PASCAL VOC: one XML file of boxes per image."""

import collections
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.arguments import Pixels
from visiontasks.data.box_formats import CORNERS, check_format
from visiontasks.data.class_lists import in_order
from visiontasks.data.finding import Finder
from visiontasks.data.images import MAX_PIXELS, files_below, image_size, is_image_name, list_images
from visiontasks.data.layout import child, folders_in, is_split, split_folders
from visiontasks.data.listing import files_like
from visiontasks.data.objects import Objects, usable_boxes, zero_based
from visiontasks.data.sources.source import ObjectFiles, check_once
from visiontasks.data.split_lists import tell_unused
from visiontasks.data.text import read_lines
from visiontasks.data.voc_xml import parse
from visiontasks.errors import BadImage, DataError

# the names that exporting tools use, in any case
_XML_FOLDERS = ("annotations", "annotation", "xml", "xmls", "labels")
_IMAGE_FOLDERS = ("jpegimages", "images", "image", "img", "imgs", "pictures", "data")

_TRIED, _HEAD = 3, 1024  # files, and their bytes, that recognition looks at
_MOST = 20  # folders that it looks into for XML files


class Voc(ObjectFiles):
    """PASCAL VOC: Annotations/*.xml and JPEGImages; gives `boxes`, `classes`, `tags` and `label`.

    An object marked difficult is `ignored`: nothing is learned there, and scoring neither rewards nor punishes it.
    `tags` are the classes present, `label` is the class of the largest object that is not difficult. An image whose
    XML lists no object is kept, as an image without objects; one whose objects are all unusable is left out, and so is
    an image without an XML file. XML files may lie in folders of classes, and lack the suffix there, as in Stanford
    Dogs. The turned boxes of CVAT and roLabelImg become the upright boxes around them.

    Args:
        root: the folder that holds Annotations, JPEGImages and (for `split`) ImageSets/Main.
        annotations, images: the folders of XML files and of images in the root; "." is the root itself.
        split: the list ImageSets/Main/SPLIT.txt of image names; by default every image with an XML file.
        names: the classes in order; by default those in the XML files, sorted.
        one_based: coordinates count pixels from 1 and include the last one, as in the VOC devkit: a box reaches from
            xmin - 1 to xmax. False: from xmin to xmax as written, as many tools export it.
        max_pixels: larger images are skipped.

    Raises:
        DataError: a folder or list is missing, there is no object, `names` lacks a class, or an XML has a DOCTYPE,
            lacks a tag, or states another image size, or most boxes look wrong; the text names the file. To check
            this, every XML is read once.
    """

    LAYOUT = (
        "PASCAL VOC: DIR/Annotations/*.xml, DIR/JPEGImages/*.jpg and DIR/ImageSets/Main/{train,val}.txt; or "
        "DIR/annotations/*.xml (or annotations/xmls, labels) and DIR/images (or data), or both kinds in one folder, "
        "each also in DIR/train and DIR/val; or DIR/Annotation/CLASS/x and DIR/Images/CLASS/x.jpg"
    )

    def __init__(
        self,
        root: str,
        split: str | None = None,
        names: Sequence[str] | None = None,
        one_based: bool = True,
        max_pixels: Pixels = MAX_PIXELS,
        annotations: str = "Annotations",
        images: str = "JPEGImages",
    ):
        super().__init__()
        self.root, self.split, self.one_based, self.max_pixels = Path(root), split, one_based, max_pixels
        self.annotations, self.images = self.root / annotations, self.root / images
        for folder in (self.root, self.annotations, self.images):
            if not folder.is_dir():
                raise DataError(f"expected a folder {folder}, got none. {self.LAYOUT}.", "root")
        items = list(self._read(self._listed()))
        seen = in_order(name for *_, objects in items for name, *_ in objects)
        self.name_classes(seen if names is None else names)
        rows = [(row, size) for _, _, size, objects in items for row in objects]
        check_format([row[1] for row, _ in rows], [size for _, size in rows], CORNERS, self.root)
        self.items = [(path, self._objects(xml, size, objects), objects) for path, xml, size, objects in items]
        self.items = [(path, kept) for path, kept, rows in self.items if self.usable(len(rows), kept, path)]
        self.check_objects(self.root, ignored="difficult objects", fix="set difficult to 0")

    def _listed(self) -> list[Path]:
        """The XML files of the split."""
        if self.split is None:
            tell_unused(self.root, Finder(self.images), self.report)
            return _xml_files(self.annotations) or _deep_files(self.annotations)
        if not re.fullmatch(r"[\w.-]+", self.split):
            raise DataError(
                f"expected the name of a list in {self.root / 'ImageSets/Main'}, got {self.split!r}.", "split"
            )
        file = self.root / f"ImageSets/Main/{self.split}.txt"
        if not file.is_file():
            splits = ", ".join(sorted(path.stem for path in file.parent.glob("*.txt"))) or "none"
            raise DataError(f"expected a list of images {file} (of {splits}), which does not exist.", "split")
        finder = Finder(self.annotations, self.report, _is_xml, "image without an XML file, skipped")
        files = []
        for line in dict.fromkeys(read_lines(file, "a list of images", "split")):
            # in the lists of one class, 1 or -1 follows the name; VoTT writes the name with its suffix
            names = [*dict.fromkeys((line, line.split()[0]))]
            names += [Path(name).stem for name in names if is_image_name(name)]
            name = next((f"{name}.xml" for name in names if finder.at_once(f"{name}.xml")), f"{names[-1]}.xml")
            files.append(finder.find(name, file))
        return [path for path in files if path is not None]

    def _read(self, files):
        """(image, XML file, size, [(class name, corners, difficult)]) of each readable image."""
        files_of_images = list_images(self.images, report=self.report)
        images = collections.defaultdict(list)
        for path in files_of_images:
            images[path.stem].append(path)
        deep = any(file.parent != self.annotations for file in files)  # folders of classes may each have a 1.jpg
        placed = {_place(path, self.images): path for path in files_of_images} if deep else {}
        finder = Finder(self.images, self.report)

        def look(file):
            size, name, objects = parse(file)
            path = placed.get(_place(file, self.annotations)) if deep else None
            if path is None:
                path, *others = images.get(file.stem, [None])
                if path is None or others:  # of a.jpg and a.png the one that the file names
                    path = finder.find(name, file)
            if path is None:
                raise BadImage(file, "XML without an image")
            return path, (size, image_size(path, self.max_pixels)), objects

        used = {}
        for file, (path, (listed, size), objects) in self.readable(look, files, "Checking annotations"):
            self.check_size(file, path, [n if 0 < n < math.inf else 0 for n in listed], size)
            check_once(path, file, used)
            for number in (number for number, row in enumerate(objects, start=1) if row[3]):
                self.report.noted("box with a rotation, taken as the upright box around it", f"{file}, object {number}")
            yield path, file, size, objects
        if self.split is None:
            stems = {file.stem for file in files}
            for path in files_of_images:
                if path not in used and (path.stem not in stems or len(images[path.stem]) > 1):
                    self.report.skipped("image without an XML file, not used", str(path))

    def id_of(self, path):
        return path.relative_to(self.images).as_posix()

    def _objects(self, file, size, rows) -> Objects:
        numbers = np.array([self.number_of(name, file) for name, *_ in rows], np.int32)
        labels = [f"{file}, object {number}" for number in range(1, 1 + len(rows))]
        boxes = np.array([corners for _, corners, *_ in rows], np.float64).reshape(-1, 4)
        if self.one_based:
            if (boxes[:, :2] < 1).any() and (boxes[:, 2:] > 0).any():
                self.report.noted(
                    "box that starts at 0 in coordinates read as 1-based (change it with one_based=False)", str(file)
                )
            outlined = np.array([row[4] for row in rows], bool)[:, None]
            boxes = np.where(outlined, boxes, zero_based(boxes))
        boxes, kept = usable_boxes(boxes, size, labels, self.report)
        return Objects(boxes, numbers[kept], np.array([rows[number][2] for number in kept], bool))

    @classmethod
    def recognize(cls, root):
        homes = [home for home in (root, *sorted(p for p in root.iterdir() if p.is_dir())) if _is_home(home)]
        if not homes:
            return _plan_of_folders(root) or _why_not(root)
        if len(homes) != 1 and root not in homes:  # VOCdevkit with several years
            return None
        home = homes[0]
        stems = sorted(path.stem for path in (home / "ImageSets/Main").glob("*.txt"))
        splits = {stem.lower(): stem for stem in reversed(stems)}
        pairs = [("train", "val"), ("train", "valid"), ("train", "validation"), ("train", "test"), ("trainval", "test")]
        pairs += [("train", None), ("trainval", None)]
        # VoTT has lists of each class alone, with all images of a split in each
        pairs += [(name, f"{name[:-5]}val") for name in sorted(splits) if name.endswith("_train")]
        pair = next((pair for pair in pairs if {*pair} - {None} <= splits.keys()), (None, None))
        train, val = map(splits.get, pair)
        plan = {"train": {"root": str(home)}, "val": {"root": str(home)}}
        for key, split in (("train", train), ("val", val)):
            if split is not None:
                plan[key]["split"] = split
            elif key == "val":
                del plan[key]
        return plan

    @classmethod
    def recognize_for(cls, root, wanted):
        # the folders of classes are the classes
        return None if set(wanted) == {"label"} and _plan_of_classes(root) else cls.recognize(root)


def _is_home(folder: Path) -> bool:
    return (folder / "JPEGImages").is_dir() and bool(_xml_files(folder / "Annotations"))


def _is_xml(name: str) -> bool:
    return name.lower().endswith(".xml")


def _xml_files(folder: Path) -> list[Path]:
    return [path for path in files_like(folder, "*.xml") if not path.name.startswith(".")]


def _plan_of_folders(root: Path) -> dict | None:
    """The arguments for a folder of XML files and a folder of images, or of both; for each split."""
    plan = {}
    for split, folder in split_folders(root).items():
        files = _folder_of_xml(folder)
        beside = any(is_image_name(path.name) for path in folder.iterdir())
        images = folder if beside else child(folder, _IMAGE_FOLDERS)
        if files is None or images is None:
            return (_plan_of_splits(root) or _plan_of_classes(root)) if folder == root else None
        plan[split] = _arguments(folder, files, images)
    return plan


def _plan_of_splits(root: Path) -> dict | None:
    """The arguments for splits in the folder of XML files, such as annotations/train, and in the folder of images."""
    files, images = child(root, _XML_FOLDERS), child(root, _IMAGE_FOLDERS)
    if files is None or images is None:
        return None
    files, images = split_folders(files), split_folders(images)
    pairs = {split: (files[split], images[split]) for split in files if split in images and _xml_files(files[split])}
    return {split: _arguments(root, *pair) for split, pair in pairs.items()} if "train" in pairs else None


def _plan_of_classes(root: Path) -> dict | None:
    """The arguments for folders of classes in both folders, as in Stanford Dogs, whose XML files lack the suffix."""
    files, images = child(root, _XML_FOLDERS), child(root, _IMAGE_FOLDERS)
    if files is None or images is None or any(is_split(folder.name) for folder in files.iterdir()):
        return None
    found, finder = _deep_files(files)[:_TRIED], Finder(images)
    places = (_place(file, files) for file in found)
    fits = found and all(map(_is_voc, found)) and any(map(finder.at_once, places))
    return {"train": _arguments(root, files, images)} if fits else None


def _place(file: Path, folder: Path) -> str:
    """Where a file lies in a folder, without its suffix."""
    return os.path.splitext(file.relative_to(folder).as_posix())[0]


def _deep_files(folder: Path) -> list[Path]:
    """The XML files in a folder's folders; without one, the files without a suffix that begin as one."""
    names = [below / name for below, some in files_below(folder) for name in some]
    found = [path for path in names if _is_xml(path.name)]
    bare = [] if found else [path for path in names if not path.suffix]
    return sorted(found or (bare if bare and all(map(_is_voc, bare[:_TRIED])) else []))


def _folder_of_xml(folder: Path) -> Path | None:
    """The folder itself, or one of the usual names in it, or in such a one, as annotations/xmls."""
    if any(map(_is_voc, _xml_files(folder)[:_TRIED])):
        return folder
    inner = child(folder, _XML_FOLDERS)
    if inner is not None:
        return _folder_of_xml(inner)
    folders = folders_in(folder)[:_MOST]
    found = [one for one in folders if any(map(_is_voc, _xml_files(one)[:_TRIED]))]
    return found[0] if len(found) == 1 else None


def _why_not(root: Path) -> str | None:
    files = _folder_of_xml(root)
    if files is None or list_images(root):
        return None
    return f"{files} has XML files, but there are no images in {root}; export with images, or lay them into it"


def _is_voc(file: Path) -> bool:
    """Whether an XML may be of one image, and not CVAT's of all images."""
    with open(file, "rb") as opened:
        head = opened.read(_HEAD)
    return b"<annotations>" not in head and (_is_xml(file.name) or b"<annotation>" in head)


def _arguments(root: Path, annotations: Path, images: Path) -> dict[str, str]:
    names = {"annotations": annotations, "images": images}
    return {"root": str(root)} | {key: path.relative_to(root).as_posix() for key, path in names.items()}
