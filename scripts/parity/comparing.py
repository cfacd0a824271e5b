"""How annotations of one image differ, once a tool has exported them: used by round_trips.py."""

import dataclasses
from collections import Counter

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

VOID = 255
MOST = 4  # pixels by which masks are compared


@dataclasses.dataclass(frozen=True)
class Export:
    """What of an annotation an export keeps, and how exactly.

    Args:
        gives: boxes, masks (with the boxes), keypoints or pixels (the class of each).
        box, mask: pixels of rounding.
        crowds: what it makes of ignored regions: kept, objects, or none.
        outlines: it has no boxes but those around the masks.
        contours: a part of a mask whose contour has fewer than 3 points is left out; without any, a box is written.
        parts: each connected part of a mask is an object.
        coco: it is a file in COCO's format, and compared with pycocotools instead of with these bounds.
        says: what the error says with which a set of masks is refused; "" where it is read.
    """

    gives: str
    box: float = 0.01
    mask: int = 0
    crowds: str = "objects"
    outlines: bool = False
    contours: bool = False
    parts: bool = False
    coco: bool = False
    says: str = ""


@dataclasses.dataclass
class Image:
    """One image's annotations; `masks` are run lengths or None, `pixels` the class of each, 0 background."""

    path: str
    size: tuple[int, int]
    split: str
    boxes: np.ndarray | None = None
    classes: list[str] = dataclasses.field(default_factory=list)
    ignored: np.ndarray | None = None
    masks: list | None = None
    keypoints: np.ndarray | None = None
    pixels: np.ndarray | None = None


def expected(image: Image, how: Export) -> Image:
    """What is left of an image's annotations in an export."""
    kept = [number for number, ignored in enumerate(image.ignored) if not (ignored and how.crowds == "none")]
    made = {"boxes": [], "classes": [], "ignored": [], "masks": []}
    for number in kept:
        mask = image.masks[number] if image.masks else None
        shapes = [mask] if mask is None or not how.contours else drawn(mask, how.parts) or [None]
        for shape in shapes:
            around = how.outlines and shape is not None
            made["boxes"].append(outline(shape) if around else image.boxes[number])
            made["classes"].append(image.classes[number])
            made["ignored"].append(bool(image.ignored[number]) and how.crowds == "kept")
            made["masks"].append(shape)
    made["boxes"] = np.array(made["boxes"], float).reshape(-1, 4)
    return dataclasses.replace(image, **made, keypoints=None if image.keypoints is None else image.keypoints[kept])


def drawn(mask, separate) -> list[dict]:
    """The mask, or each connected part of it, without parts whose contour has fewer than 3 points."""
    count, labels = cv2.connectedComponents(coco_mask.decode(mask))
    kept = []
    for number in range(1, count):
        part = (labels == number).astype(np.uint8)
        contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if len(contours[0]) >= 3:
            kept.append(coco_mask.encode(np.asfortranarray(part)))
    return kept if separate or not kept else [coco_mask.merge(kept)]


def outline(mask) -> np.ndarray:
    """The box around a mask."""
    x, y, width, height = coco_mask.toBbox(mask)
    return np.array([x, y, x + width, y + height])


def pairs(before: Image, after: Image) -> list[tuple[int, int]]:
    """Objects of one class whose boxes differ least, as pairs of numbers."""
    if not len(before.boxes) or not len(after.boxes):
        return []
    other = np.array(before.classes)[:, None] != np.array(after.classes)[None]
    costs = np.abs(before.boxes[:, None] - after.boxes[None]).max(axis=-1) + 1e6 * other
    if before.masks and after.masks and len(before.masks) * len(after.masks):  # of equal boxes the masks decide
        known = [(i, j) for i, j in np.argwhere(costs < 3) if before.masks[i] and after.masks[j]]
        for i, j in known:
            costs[i, j] += 1 - overlap(before.masks[i], after.masks[j])
    rows, columns = linear_sum_assignment(costs)
    return [(i, j) for i, j in zip(rows, columns, strict=True) if costs[i, j] < 1e6]


def overlap(one, other) -> float:
    if not coco_mask.area(one) and not coco_mask.area(other):
        return 1.0
    return float(coco_mask.iou([one], [other], [0])[0, 0])


def distance(one, other) -> int:
    """The rounding between two masks in pixels, as the module's text defines it; above MOST: MOST + 1."""
    a, b = coco_mask.decode(one), coco_mask.decode(other)
    if not (a | b).any():  # a polygon without a pixel
        return 0
    rows, columns = np.flatnonzero((a | b).any(axis=1)), np.flatnonzero((a | b).any(axis=0))
    window = tuple(slice(max(0, found[0] - MOST), found[-1] + 1 + MOST) for found in (rows, columns))
    a, b = a[window], b[window]
    for count in range(MOST + 1):
        square = np.ones((2 * count + 1, 2 * count + 1), np.uint8)
        thinner = cv2.erode(a, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        if not (thinner & ~b & 1).any() and not (b & ~cv2.dilate(a, square) & 1).any():
            return count
    return MOST + 1


class Row:
    """A line of the table: what differs between a data set and what was read of its export."""

    def __init__(self, how: Export):
        self.how, self.count = how, Counter()
        self.box, self.mask, self.point, self.equal, self.overlaps = 0.0, 0, 0.0, 1.0, []

    def add(self, before: Image, after: Image):
        if self.how.gives == "pixels":
            counted = before.pixels != VOID
            self.equal = min(self.equal, float((before.pixels == after.pixels)[counted].mean()))
            return
        before = expected(before, self.how)
        found = pairs(before, after)
        self.count.update(expected=len(before.boxes), read=len(after.boxes), paired=len(found))
        for i, j in found:
            self.box = max(self.box, float(np.abs(before.boxes[i] - after.boxes[j]).max()))
            self.count["crowd"] += before.ignored[i] != after.ignored[j]
            if self.how.gives == "masks" and before.masks[i] and (after.masks and after.masks[j]):
                self.overlaps.append(overlap(before.masks[i], after.masks[j]))
                self.mask = max(self.mask, distance(before.masks[i], after.masks[j]))
            elif self.how.gives == "masks" and before.masks[i]:
                self.count["without a mask"] += 1
            if self.how.gives == "keypoints":
                a, b = before.keypoints[i], after.keypoints[j]
                labeled = a[:, 2] > 0
                self.count["visibility"] += int((a[:, 2] != b[:, 2]).sum())
                self.point = max(self.point, float(np.abs(a - b)[labeled, :2].max(initial=0)))

    def faults(self) -> list[str]:
        count, how = self.count, self.how
        lost, more = count["expected"] - count["paired"], count["read"] - count["paired"]
        found = {f"{lost} objects lost": lost, f"{more} objects more": more, f"pixels {self.equal:.4f}": self.equal < 1}
        found |= {"boxes": self.box > how.box, "masks": self.mask > how.mask, "keypoints": self.point > 0.01}
        found |= {f"{count[name]} × {name}": count[name] for name in ("crowd", "without a mask", "visibility")}
        return [name for name, wrong in found.items() if wrong]

    def cells(self) -> list[str]:
        if self.how.gives == "pixels":
            return [f"{self.equal:.2%} of pixels", "", "", ""]
        masks = ["", ""]
        if self.overlaps:
            masks = [f"{min(self.overlaps):.3f}, mean {np.mean(self.overlaps):.3f}", f"{self.mask}"]
        points = f", keypoints {self.point:.3f}" if self.how.gives == "keypoints" else ""
        return [f"{self.count['paired']}/{self.count['expected']}", f"{self.box:.3f}{points}", *masks]
