"""Reads the XML files of PASCAL VOC, and of the tools that write such."""

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from visiontasks.data.text import content_of
from visiontasks.errors import BadImage, DataError
from visiontasks.ops import numpy_boxes

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _NoDoctype(ET.TreeBuilder):
    """Refuses a DOCTYPE when it begins: it can declare entities, and a few lines of them can fill the memory."""

    def doctype(self, name, public, system):
        raise DataError("expected an XML without a DOCTYPE, got one; remove it.")


def parse(file: Path) -> tuple[tuple[float, ...], str, list[tuple[str, list[float], bool, bool, bool]]]:
    """((height, width) as written or zeros, file name, objects); tags are read by name, in any order.

    An object is its class, corners, whether it is difficult, whether its box was turned, and whether it is around a
    polygon, whose points are no pixels counted from 1.
    """
    try:
        tree = ET.fromstring(content_of(file), ET.XMLParser(target=_NoDoctype()))
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    except (ET.ParseError, OSError, ValueError) as error:
        raise BadImage(file, f"broken XML ({error})") from error
    size = tuple(_number(tree.findtext(f"size/{axis}") or "0", file, axis) for axis in ("height", "width"))
    objects = []
    for number, element in enumerate(tree.findall("object"), start=1):
        if (element.findtext("deleted") or "").strip() == "1":  # LabelMe keeps what was removed
            continue
        name, (corners, degrees) = (element.findtext("name") or "").strip(), _corners(element, file)
        if not name or corners is None:
            raise DataError(
                f"{file}, object {number}: expected a name and a bndbox with {', '.join(_CORNERS)}; complete it."
            )
        difficult = _number(element.findtext("difficult") or "0", file, "difficult")
        corners = numpy_boxes.turned(corners, degrees).tolist() if degrees else corners
        outlined = element.find("bndbox") is None and element.find("robndbox") is None
        objects.append((name, corners, difficult == 1, bool(degrees), outlined))
    return size, (tree.findtext("filename") or f"{file.stem}.jpg").strip(), objects


def _corners(element, file) -> tuple[list[float] | None, float]:
    """The corners of an object's box before CVAT or roLabelImg turn it about its center, and by how many degrees."""
    box, turned = element.find("bndbox"), element.find("robndbox")
    if turned is not None:
        texts = [turned.findtext(tag) or "" for tag in ("cx", "cy", "w", "h", "angle")]
        x, y, width, height, angle = (_number(text, file, "robndbox") for text in texts)
        corners, degrees = [x - width / 2, y - height / 2, x + width / 2, y + height / 2], math.degrees(angle)
    elif box is None and (outline := element.findall("polygon/pt")):  # of the tool LabelMe
        points = [[_number(point.findtext(axis) or "", file, "polygon") for axis in "xy"] for point in outline]
        corners, degrees = [*map(min, zip(*points, strict=True)), *map(max, zip(*points, strict=True))], 0
    else:
        corners = [None if box is None else box.findtext(corner) for corner in _CORNERS]
        if None in corners:
            return None, 0
        corners = [_number(corner, file, "bndbox") for corner in corners]
        attributes = element.iterfind("attributes/attribute")
        values = [one.findtext("value") or "0" for one in attributes if one.findtext("name") == "rotation"]
        degrees = _number(values[0], file, "rotation") if values else 0
    return corners, degrees if degrees % 180 and math.isfinite(degrees) else 0


def _number(text: str, file, tag) -> float:
    text = text.strip()
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf)", text, re.IGNORECASE):
        if tag == "difficult":  # annotation tools write "Unspecified"
            return 0.0
        raise DataError(f"{file}: expected numbers in {tag}, got {text!r}.")
    return float(text)
