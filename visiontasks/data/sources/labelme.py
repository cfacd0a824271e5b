"""labelme: an image and a JSON of shapes of the same name."""

import base64
import collections
import json
import math
import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from visiontasks.arguments import Pixels
from visiontasks.data import segmentations
from visiontasks.data.class_lists import in_order
from visiontasks.data.finding import Finder
from visiontasks.data.images import MAX_PIXELS, files_below, header_of, image_size, list_images
from visiontasks.data.layout import child, split_folders
from visiontasks.data.listing import files_like
from visiontasks.data.objects import Objects, usable_boxes
from visiontasks.data.sources.source import ObjectFiles, check_once
from visiontasks.data.text import content_of, decode, in_utf8
from visiontasks.errors import BadImage, DataError
from visiontasks.polygons import cut_far
from visiontasks.run_lengths import encoded, of_polygons

_FOLDERS = ("labels", "label", "annotations", "annotation", "json", "jsons", "labelme")  # beside one of images
_ROUND = 64  # corners of the polygon for a circle
_LEAST = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}  # points of a shape


class Labelme(ObjectFiles):
    """labelme's JSON files and their images; gives `boxes`, `classes`, `tags`, `label`, `instance_masks` and `mask`.

    Polygons, circles and masks have a mask, rectangles a box alone. Shapes with the same label and group_id are one
    object. Points, lines and other shapes are no objects: they are reported. An image without a JSON is not labeled, so
    it is left out, and so is one whose objects are all unusable; one whose JSON has no shapes is an image without
    objects. If no JSON has shapes, the flags that are true are `tags`, and the `label` if no image has several.

    Args:
        root: the folder of images and JSON files, however deep.
        names: the classes in order; by default the labels in the files, sorted.
        max_pixels: larger images are skipped.

    Raises:
        DataError: there is no JSON or no object, `names` lacks a label, a shape has no label or wrong points, a file
            states another image size, or two files have one image; the text names the file and the shape. To check
            this, every JSON is read once.
    """

    LAYOUT = (
        "labelme: DIR/*.jpg and DIR/*.json of the same names, or DIR/images and DIR/labels, also in DIR/{train,val}"
    )
    fields = ObjectFiles.fields | {"instance_masks", "mask"}

    def __init__(self, root: str, names: Sequence[str] | None = None, max_pixels: Pixels = MAX_PIXELS):
        super().__init__()
        self.root, self.max_pixels = Path(root), max_pixels
        if not self.root.is_dir():
            raise DataError(f"expected a folder {root}, got none. {self.LAYOUT}.", "root")
        images, self._finder = list_images(self.root, report=self.report), Finder(self.root, self.report)
        by_stem, labeled = collections.defaultdict(list), {}
        for path in images:
            by_stem[path.with_suffix("")].append(path)
        files = [folder / name for folder, names in files_below(self.root) for name in names if name.endswith(".json")]
        read = self.readable(lambda file: self._parse(file, by_stem), sorted(files), "Checking annotations")
        read = [(file, parsed) for file, parsed in read if parsed is not None]
        for file, (path, *_) in read:
            check_once(path.resolve(), file, labeled)
        for path in images:
            if path.resolve() not in labeled:
                self.report.skipped("image without a labelme file, left out", str(path))
        flagged = not any(shapes for _, (_, _, shapes, _) in read)  # without shapes, flags are classes of images
        read = [(file, (path, size, flags if flagged else shapes)) for file, (path, size, shapes, flags) in read]
        seen = in_order(one[0] for _, (_, _, shapes) in read for one in shapes if one[2] is not None)
        self.name_classes(seen if names is None else names)
        found = [(path, self._objects(file, size, shapes), shapes) for file, (path, size, shapes) in read]
        self.items = [(path, objects) for path, objects, shapes in found if self.usable(len(shapes), objects, path)]
        self.check_objects(self.root, "labelme files with polygons, circles, masks or rectangles")
        if not any(mask is not None for _, objects in self.items for mask in objects.masks):
            self.without_masks()
        if flagged:
            self.only_classes()

    def _parse(self, file, images):
        """(image, size, [(label, group, what `_outline` gives, its name)], the same of its flags) of a file.

        None: it is another tool's.
        """
        try:
            data = content_of(file)
            if not _is_labelme(data):
                return None
            content = json.loads(decode(data))
        except (ValueError, OSError, RecursionError) as error:
            raise BadImage(file, f"broken JSON ({error})") from error
        shapes = content.get("shapes") if isinstance(content, dict) else None
        if shapes is not None and not (isinstance(shapes, list) and all(isinstance(one, dict) for one in shapes)):
            raise DataError(f"{file}: expected shapes of a label and points, got {str(shapes)[:80]}; export it again.")
        if not isinstance(content, dict):
            raise DataError(f"{file}: expected a JSON object with shapes, got {str(content)[:80]}; export it again.")
        named = str(content.get("imagePath") or file.stem).replace("\\", "/")
        paths = images.get(file.with_suffix(""), ())  # the name in the file is often that before files were moved
        if len(paths) > 1:
            paths = [path for path in paths if path.name == posixpath.basename(named)]
        path = paths[0] if paths else None
        if path is None:
            beside = posixpath.normpath(f"{os.path.relpath(file.parent, self.root)}/{named}")
            path = self._finder.find(beside if self._finder.has(beside) else posixpath.basename(named), file)
        if path is None:
            raise BadImage(file, "JSON without an image")
        size = image_size(path, self.max_pixels)
        self.check_size(file, path, [content.get("imageHeight") or 0, content.get("imageWidth") or 0], size)
        kept = []
        for number, shape in enumerate(shapes or (), start=1):
            name = f"{file}, shape {number}"
            if (kind := str(shape.get("shape_type") or "polygon")) not in _LEAST:
                self.report.skipped(f"shape that is no polygon, circle, mask or rectangle ({kind}), skipped", name)
                continue
            label = str(shape.get("label") or "").strip()
            if not label:
                raise DataError(f"{name}: expected a label, got none; name it.")
            group = shape.get("group_id")
            if not isinstance(group, (int, float, str, type(None))):
                raise DataError(f"{name}: expected a number or a text as its group_id, got {group!r}; correct it.")
            kept.append((label, group, self._outline(kind, shape, size, name), name))
        flags = content.get("flags") if isinstance(content.get("flags"), dict) else {}
        whole = np.array([0.0, 0.0, size[1], size[0]])
        return path, size, kept, [(str(name), None, whole, str(file)) for name, on in flags.items() if on is True]

    def _outline(self, kind, shape, size, name):
        """A shape as the polygon (P, 2), as run lengths, or of a rectangle as the corners (4,); None: it is skipped."""
        points = _points(shape.get("points"), name)
        if len(points) < _LEAST[kind]:
            self.report.skipped(f"{kind} of fewer than {_LEAST[kind]} points, skipped", name)
            return None
        if not np.isfinite(points).all():
            self.report.skipped(f"{kind} of NaN or infinity, skipped", name)
            return None
        if kind == "rectangle":
            return np.concatenate([points.min(axis=0), points.max(axis=0)])
        if kind == "mask":
            return _decoded(shape.get("mask"), points[0], size, name)
        outline = points if kind == "polygon" else _circle(*points[:2])
        if (kept := cut_far(outline, size)) is not outline:
            if not len(kept):
                self.report.skipped(f"{kind} outside of its image, skipped", name)
                return None
            self.report.noted(f"{kind} that reaches far out of its image, cut to it", name)
        return kept

    def _objects(self, file, size, shapes) -> Objects:
        groups: dict = {}
        shapes = [one for one in shapes if one[2] is not None]
        for number, (label, group, outline, name) in enumerate(shapes):
            key = (label, "group", group) if group is not None else (label, "shape", number)
            groups.setdefault(key, []).append((outline, name))
        boxes, masks = [], []
        for parts in groups.values():
            boxes.append(_around([outline for outline, _ in parts]))
            masks.append(_joined([outline for outline, _ in parts], size))
        labels = [parts[0][1] for parts in groups.values()]
        boxes, kept = usable_boxes(np.array(boxes, np.float64), size, labels, self.report)
        classes = [self.number_of(label, file) for label, *_ in groups]
        return Objects(
            boxes,
            np.array([classes[number] for number in kept], np.int32),
            np.zeros(len(kept), bool),
            masks=tuple(masks[number] for number in kept),
        )

    @classmethod
    def recognize(cls, root):
        folders = split_folders(root)
        if not all(any(map(_has_files, (folder, child(folder, _FOLDERS)))) for folder in folders.values()):
            return None
        if bare := next((folder for folder in folders.values() if not list_images(folder)), None):
            return (
                f"{bare} has labelme files, but no images; those inside (imageData) are not read: save them as files, "
                "as labelme_export_json does"
            )
        return {split: {"root": str(folder)} for split, folder in folders.items()}


def _has_files(folder: Path | None) -> bool:
    files = () if folder is None else files_like(folder, "[!.]*.json")[:3]
    return any(file.is_file() and _is_labelme(file.read_bytes()) for file in files)


def _is_labelme(data: bytes) -> bool:
    data = in_utf8(data)
    return b'"shapes"' in data and b'"imagePath"' in data


def _points(written, name) -> np.ndarray:
    """float64 (P, 2)."""
    try:
        points = np.array(written, np.float64)
    except (TypeError, ValueError, OverflowError):
        points = None
    if points is None or points.shape[1:] != (2,) and written != []:
        raise DataError(f"{name}: expected points [[x, y], …], got {str(written)[:80]}; correct it.")
    return points.reshape(-1, 2)


def _circle(center, rim) -> np.ndarray:
    """The polygon (P, 2) of a circle through a point."""
    angles = np.arange(_ROUND) * 2 * np.pi / _ROUND
    return center + math.dist(center, rim) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _decoded(text, corner, size, name) -> dict:
    """The run lengths of a mask, a PNG in base64 whose first pixel lies at a corner."""
    try:
        data = base64.b64decode(text)
        header_of(data, name, 4 * math.prod(size))  # a mask may reach over the edge, but it is no decompression bomb
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except (TypeError, ValueError, cv2.error, BadImage):
        pixels = None
    if pixels is None:
        raise DataError(f"{name}: expected a mask, a PNG in base64, got {str(text)[:40]!r}; export it again.")
    left, top = (int(round(value)) for value in corner)
    pixels = pixels[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
    return encoded(min(max(0, left), size[1]), min(max(0, top), size[0]), (pixels > 0).astype(np.uint8), size)


def _around(outlines) -> np.ndarray:
    """The box around an object's shapes."""
    extents = (segmentations.extent(one if isinstance(one, dict) else [one]) for one in outlines)
    boxes = np.array(list(extents), np.float64)
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _joined(outlines, size) -> list | dict | None:
    """A segmentation as `segmentations.check` gives it, of all shapes of an object; None if one is a rectangle."""
    if any(isinstance(outline, np.ndarray) and outline.ndim == 1 for outline in outlines):
        return None
    if not any(isinstance(outline, dict) for outline in outlines):
        return [outline.ravel() for outline in outlines]
    runs = [outline for outline in outlines if isinstance(outline, dict)]
    polygons = [outline for outline in outlines if not isinstance(outline, dict)]
    return coco_mask.merge([*runs, of_polygons(polygons, size)])
