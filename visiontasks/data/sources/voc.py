"""PASCAL VOC: an XML file of boxes beside each picture."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.images import MAX_PIXELS, inside, is_picture_name, list_pictures, picture_size, read_image
from visiontasks.data.layout import child, part_folders
from visiontasks.data.objects import Objects, usable_boxes, zero_based
from visiontasks.data.scan import scan
from visiontasks.data.sources.source import Source
from visiontasks.errors import BadPicture, DataError
from visiontasks.sample import Sample

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
# as tools that export this format name them, in any case
_XML_FOLDERS, _PICTURE_FOLDERS = ("annotations", "xml", "xmls", "labels"), ("jpegimages", "images", "pictures")


class Voc(Source):
    """PASCAL VOC: Annotations/*.xml and JPEGImages; gives `boxes`, `classes`, `tags` and `label`.

    An object marked difficult is `ignored`: nothing is learned there, and scoring neither rewards nor punishes it.
    `tags` are the classes present, `label` that of the largest object that is not difficult. An image whose XML lists
    no object is kept: it is background.

    Args:
        root: the folder that holds Annotations, JPEGImages and (for `split`) ImageSets/Main.
        annotations, pictures: the folders of XML files and of pictures below it, "." for root itself.
        split: the list ImageSets/Main/SPLIT.txt of picture names; by default every picture with an XML file.
        names: the classes in their order; by default those found, sorted.
        one_based: coordinates count pixels from 1 and include the last one, as the VOC devkit has it: a box reaches
            from xmin - 1 to xmax. False: from xmin to xmax as written, as many tools export it.
        max_pixels: larger pictures are skipped.

    Raises:
        DataError: no such folder or list, no object, a class that `names` lacks, an XML with a DOCTYPE or without
            a tag it needs, or of another picture size; the text names the file. Every XML is read once to know this.
    """

    LAYOUT = (
        "PASCAL VOC: DIR/Annotations/*.xml, DIR/JPEGImages/*.jpg and DIR/ImageSets/Main/{train,val}.txt; or "
        "DIR/annotations/*.xml and DIR/images, or both kinds in one folder, each also below DIR/train and DIR/val"
    )
    fields = frozenset({"boxes", "classes", "tags", "label"})

    def __init__(
        self,
        root: str,
        split: str | None = None,
        names: Sequence[str] | None = None,
        one_based: bool = True,
        max_pixels: int = MAX_PIXELS,
        annotations: str = "Annotations",
        pictures: str = "JPEGImages",
    ):
        super().__init__()
        self.root, self.split, self.one_based, self.max_pixels = Path(root), split, one_based, max_pixels
        self.annotations, self.pictures = self.root / annotations, self.root / pictures
        for folder in (self.root, self.annotations, self.pictures):
            if not folder.is_dir():
                raise DataError(f"root: expected a folder {folder}, got none. {self.LAYOUT}.")
        found = list(self._read(self._listed()))
        seen = sorted({name for *_, objects in found for name, *_ in objects})
        names = tuple(seen) if names is None else tuple(map(str, names))
        if not seen or all(difficult for *_, objects in found for _, _, difficult in objects):
            what = "only difficult objects" if seen else "no object"
            raise DataError(
                f"{self.root}: nothing to train on: expected objects, got {what} in {len(found)} pictures."
                + (f"\n{self.report}" if self.report else "")
            )
        self.names = dict.fromkeys(("classes", "tags", "label"), names)
        self._items = [(path, self._objects(xml, size, objects, names)) for path, xml, size, objects in found]

    def _listed(self) -> list[Path]:
        """The XML files of the split."""
        if self.split is None:
            return _xml_files(self.annotations)
        file = inside(self.root, f"ImageSets/Main/{self.split}.txt")
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            splits = ", ".join(sorted(path.stem for path in file.parent.glob("*.txt"))) or "none"
            raise DataError(f"split: expected a list of pictures {file} (there: {splits}), got: {error}.") from error
        found = []
        for line in dict.fromkeys(filter(None, lines)):
            path = _inside(self.annotations, f"{line}.xml", file)
            if not path.is_file():  # the lists of one class have 1 or -1 behind the name
                path = _inside(self.annotations, f"{line.split()[0]}.xml", file)
            if path.is_file():
                found.append(path)
            else:
                self.report.add("picture without an XML file, skipped", str(path))
        return found

    def _read(self, files):
        """(picture, XML file, size, [(class name, corners, difficult)]) of each readable picture."""
        pictures = {path.stem: path for path in list_pictures(self.pictures)}

        def look(file):
            try:
                size, name, objects = _parse(file)
                path = pictures.get(file.stem) or _inside(self.pictures, name, file)
                return path, file, (size, picture_size(path, self.max_pixels)), objects
            except BadPicture as error:
                return error

        for found in scan(look, files, "Checking annotations"):
            if isinstance(found, BadPicture):
                self.report.add(f"{found.reason}, skipped", found.path)
                continue
            path, file, (said, size), objects = found
            if not all(0 < side < math.inf for side in said):
                self.report.add("XML without its picture's size, taken from the picture", str(file))
            elif said != size:
                raise DataError(
                    f"{file}: expected for {path} its height and width {size} (upright, as EXIF says), got "
                    f"{tuple(map(round, said))}; the boxes are of another picture: annotate this one, or put back "
                    "the one that was annotated."
                )
            yield path, file, size, objects

    def _objects(self, file, size, found, names) -> Objects:
        unknown = [name for name, *_ in found if name not in names]
        if unknown:
            raise DataError(
                f"{file}: expected classes out of names ({', '.join(names[:60])}), got {unknown[0]!r}; mend it, or add "
                f"it to names (in a command data.train.names=[{','.join((*names[:60], unknown[0]))}])."
            )
        labels = [f"{file}, object {number}" for number in range(1, 1 + len(found))]
        boxes = np.array([corners for _, corners, _ in found], np.float64).reshape(-1, 4)
        if self.one_based:
            if (boxes[:, :2] < 1).any() and (boxes[:, 2:] > 0).any():
                self.report.add(
                    "box from 0 in coordinates taken for 1-based (one_based=False says otherwise)", str(file)
                )
            boxes = zero_based(boxes)
        boxes, kept = usable_boxes(boxes, size, labels, self.report)
        classes = np.array([names.index(found[number][0]) for number in kept], np.int32)
        return Objects(boxes, classes, np.array([found[number][2] for number in kept], bool))

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        path, objects = self._items[index]
        image = read_image(path, self.report, self.max_pixels)
        labels = objects.fields(len(self.names["classes"]), image.shape[:2])
        return Sample(image, **labels, id=path.relative_to(self.pictures).as_posix(), path=str(path))

    def describe(self, index):
        return str(self._items[index][0])

    @classmethod
    def recognise(cls, root):
        homes = [home for home in (root, *sorted(p for p in root.iterdir() if p.is_dir())) if _is_home(home)]
        if not homes:
            return _plan_of_parts(root)
        if len(homes) != 1 and root not in homes:  # VOCdevkit with several years
            return None
        home = homes[0]
        splits = {path.stem for path in (home / "ImageSets/Main").glob("*.txt")}
        pairs = (("train", "val"), ("train", "test"), ("trainval", "test"), ("train", None), ("trainval", None))
        train, val = next((pair for pair in pairs if {*pair} - {None} <= splits), (None, None))
        plan = {"train": {"root": str(home)}, "val": {"root": str(home)}}
        for part, split in (("train", train), ("val", val)):
            if split is not None:
                plan[part]["split"] = split
            elif part == "val":
                del plan[part]
        return plan


def _is_home(folder: Path) -> bool:
    return (folder / "JPEGImages").is_dir() and bool(_xml_files(folder / "Annotations"))


def _xml_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.xml") if not path.name.startswith("."))


def _plan_of_parts(root: Path) -> dict | None:
    """The arguments for a folder of XML files and one of pictures, or one of both; whole, or of each part."""
    plan = {}
    for part, folder in part_folders(root).items():
        files = folder if _xml_files(folder) else child(folder, _XML_FOLDERS)
        beside = any(is_picture_name(path.name) for path in folder.iterdir())
        pictures = folder if beside else child(folder, _PICTURE_FOLDERS)
        if files is None or pictures is None or not _xml_files(files):
            return None
        places = {
            "annotations": files.relative_to(folder).as_posix(),
            "pictures": pictures.relative_to(folder).as_posix(),
        }
        plan[part] = {"root": str(folder), **places}
    return plan


def _inside(folder, name, file) -> Path:
    try:
        return inside(folder, name)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


class _NoDoctype(ET.TreeBuilder):
    """Refuses a DOCTYPE as soon as it begins: entities are declared in it, and a few lines of them fill any memory."""

    def doctype(self, name, public, system):
        raise DataError("expected an XML without a DOCTYPE, got one; remove it.")


def _parse(file: Path) -> tuple[tuple[float, ...], str, list[tuple[str, list[float], bool]]]:
    """((height, width) as written or zeros, file name, objects); tags are found by name, whatever their order."""
    try:
        tree = ET.fromstring(file.read_bytes(), ET.XMLParser(target=_NoDoctype()))
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    except (ET.ParseError, OSError, ValueError) as error:
        raise BadPicture(file, f"broken XML ({error})") from error
    size = tuple(_number(tree.findtext(f"size/{side}") or "0", file, side) for side in ("height", "width"))
    objects = []
    for number, found in enumerate(tree.findall("object"), start=1):
        name, box = (found.findtext("name") or "").strip(), found.find("bndbox")
        corners = [None if box is None else box.findtext(corner) for corner in _CORNERS]
        if not name or None in corners:
            raise DataError(
                f"{file}, object {number}: expected a name and a bndbox with {', '.join(_CORNERS)}; complete it."
            )
        difficult = _number(found.findtext("difficult") or "0", file, "difficult")
        objects.append((name, [_number(corner, file, "bndbox") for corner in corners], difficult == 1))
    return size, (tree.findtext("filename") or f"{file.stem}.jpg").strip(), objects


def _number(text: str, file, tag) -> float:
    text = text.strip()
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf)", text, re.IGNORECASE):
        if tag == "difficult":  # annotation tools write "Unspecified"
            return 0.0
        raise DataError(f"{file}: expected numbers in {tag}, got {text!r}.")
    return float(text)
