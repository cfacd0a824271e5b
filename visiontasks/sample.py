"""`Sample`: one image with its labels, in the format used inside the package."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from visiontasks.instance_masks import NO_MASK, InstanceMasks

VOID = 255  # a mask pixel that counts neither in losses nor in metrics
UNLABELED = -1  # a missing label or tag, which adds nothing to a loss
NO_OBJECT = -1  # the class of padding in a batch


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a Sample: its NumPy type, its number of axes, and the value for "not labeled"."""

    dtype: str
    ndim: int
    absent: float


FIELDS = {
    "label": Field("int32", 0, UNLABELED),
    "tags": Field("float32", 1, UNLABELED),
    "boxes": Field("float32", 2, 0),
    "classes": Field("int32", 1, NO_OBJECT),
    "known": Field("bool", 1, False),
    "ignored": Field("bool", 1, False),
    "mask": Field("int32", 2, VOID),
    "instance_masks": Field("uint8", 3, NO_MASK),
    "keypoints": Field("float32", 3, 0),
}
OBJECT_FIELDS = ("boxes", "classes", "ignored", "instance_masks", "keypoints")  # with one entry per object
SCORING_FIELDS = {"areas": "float32"}  # also one entry per object; only for metrics, not in batches


def by_set(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """{label set: {field: name}} of names such as boxes and vehicles/boxes; the set without a name is ""."""
    sets = {}
    for name in names:
        label_set, _, field = name.rpartition("/")
        sets.setdefault(label_set, {})[field] = name
    return sets


def named(label_set: str, fields: Iterable[str]) -> list[str]:
    """The names of a label set's fields in a batch, such as vehicles/boxes; of the set without a name, boxes."""
    return [f"{label_set}/{field}" if label_set else field for field in fields]


def prefix(fields: Sequence[str], learns: str | None, names: Iterable[str]) -> str:
    """The prefix of a head's fields in a batch: "", or "NAME/" for a named label set.

    Args:
        fields: those that the head learns from.
        learns: the name of its label set. None: the set without a name or, if there is none, the only set that has the
            fields.
        names: of the batch's arrays.
    """
    if learns:
        return f"{learns}/"
    complete = [label_set for label_set, given in by_set(names).items() if given.keys() >= set(fields)]
    return f"{complete[0]}/" if len(complete) == 1 and complete[0] else ""


def check_tags(name: str, tags: np.ndarray):
    """Raise a ValueError, which begins with `name`, unless tags are 1, 0 or -1."""
    if (bad := ~np.isin(tags, (0, 1, UNLABELED))).any():
        raise ValueError(f"{name}: expected 1 (present), 0 (absent) or -1 (not labeled), got {tags[bad][0]}.")


def check_numbers(name: str, numbers: np.ndarray, count: int | None, absent: int | None, note: str):
    """Raise a ValueError unless numbers are those of `count` classes (None: any from 0), or `absent`."""
    bad = numbers < 0
    if numbers.dtype.kind == "f":
        bad |= numbers != np.round(numbers)
    if count is not None:
        bad |= numbers >= count
    if absent is not None:
        bad &= numbers != absent
    if bad.any():
        least = "from 0" if count is None else f"below {count}"
        raise ValueError(f"{name}: expected whole numbers {least}{note}; got {numbers[bad][0]}.")


def check_boxes(name: str, boxes: np.ndarray, size: tuple[int, int] | None):
    """Raise a ValueError unless boxes (N, 4) are x1, y1, x2, y2 within images of (height, width), if that is known."""
    x1, y1, x2, y2 = boxes.T
    if not (ordered := (x1 < x2) & (y1 < y2)).all():  # NaN compares false, so it is caught here too
        raise ValueError(
            f"{name}: expected x1 < x2 and y1 < y2, got {boxes[~ordered][0].tolist()}. If they are x, y, width, "
            "height, add x and y to the last two."
        )
    if size and not (inside := (x1 >= 0) & (y1 >= 0) & (x2 <= size[1]) & (y2 <= size[0])).all():
        raise ValueError(
            f"{name}: expected boxes within the image, {size[1]} wide and {size[0]} high, got "
            f"{boxes[~inside][0].tolist()}. Clip them with np.clip."
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """One image and its labels; a missing label is `None`.

    Labels belong to a label set. The fields are those of the set without a name; `sets` has further ones.

    Args:
        image: uint8 (H, W, 3), RGB, upright (EXIF applied).
        label: the image's class, int 0..C-1 (or -1: not labeled).
        tags: float32 (C,), 1 present, 0 absent, -1 not labeled.
        boxes: float32 (N, 4), x1, y1, x2, y2 in absolute pixels, 0 <= x1 < x2 <= W.
        classes: int32 (N,), the class of each object, 0..C-1; background is no class.
        known: bool (C,), the classes whose objects are all listed; None, with boxes: all classes. A class that is not
            known is learned from its objects, but never as background, and is not scored.
        ignored: bool (N,), regions that are neither object nor background (COCO's iscrowd, VOC's difficult): they count
            neither in losses nor in metrics; None: no regions.
        mask: int32 (H, W), the class of each pixel, 255 = void.
        instance_masks: an InstanceMasks of N objects, some of which may have none; or uint8 (N, H, W), 0 or 1. An
            object whose mask has no pixel is one without a mask.
        keypoints: float32 (N, K, 3), x, y, visibility (0 not labeled, 1 hidden, 2 visible).
        areas: float32 (N,), the annotated area in pixels² of the image as it was read, by which COCO tells small
            objects from large ones; None: the box's area. Not in batches, and None after a transform.
        sets: {name: a Sample whose labels are those of another label set, or {field: value}}. All have this image.
        id: the image's name in its source.
        path: the image's file, or None.
        original_size: (height, width) as read, before any transform; by default the image's.

    Raises:
        ValueError: a field has the wrong type, rank or size; the text names the field and the image.
    """

    image: np.ndarray
    label: int | None = None
    tags: np.ndarray | None = None
    boxes: np.ndarray | None = None
    classes: np.ndarray | None = None
    known: np.ndarray | None = None
    ignored: np.ndarray | None = None
    mask: np.ndarray | None = None
    instance_masks: InstanceMasks | np.ndarray | None = None
    keypoints: np.ndarray | None = None
    areas: np.ndarray | None = None
    sets: Mapping[str, "Sample | dict"] = dataclasses.field(default_factory=dict)
    id: str = ""
    path: str | None = None
    original_size: tuple[int, int] | None = None

    def __post_init__(self):
        image = self.image
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise self._wrong("image", "uint8 (H, W, 3)", image)
        if 0 in image.shape:
            raise self._wrong("image", "at least one pixel", image)
        for name, field in FIELDS.items():
            value = getattr(self, name)
            if value is None or isinstance(value, InstanceMasks):
                continue
            value = np.asarray(value)
            if value.ndim != field.ndim or not _fits(value.dtype, np.dtype(field.dtype)):
                raise self._wrong(name, f"{field.dtype} with {field.ndim} axes", value)
            value = value.astype(field.dtype, copy=False)
            object.__setattr__(self, name, int(value) if field.ndim == 0 else value)
        height, width = image.shape[:2]
        if self.mask is not None and self.mask.shape != (height, width):
            raise self._wrong("mask", f"({height}, {width}) as the image", self.mask)
        if self.mask is not None and self.mask.min() < 0:  # first what is fast: each transform makes a Sample
            check_numbers(self._name("mask"), self.mask, None, None, ", or 255 for void")
        if self.tags is not None:
            check_tags(self._name("tags"), self.tags)
        self._check_objects(height, width)
        if self.original_size is None:
            object.__setattr__(self, "original_size", (height, width))
        object.__setattr__(self, "sets", {name: self._set(name, labels) for name, labels in self.sets.items()})

    def _set(self, name, labels) -> "Sample":
        if not name or "/" in name:
            raise self._wrong("sets", "names that are not empty and have no /", repr(name))
        labels = labels.labels if isinstance(labels, Sample) else labels
        try:
            return dataclasses.replace(self.of(None), **labels)
        except ValueError as error:
            raise ValueError(f"{name}/{error}") from None

    def _check_objects(self, height, width):
        others = (*OBJECT_FIELDS[1:], *SCORING_FIELDS)
        if self.boxes is None:
            for name in (*others, "known"):
                if getattr(self, name) is not None:
                    raise self._wrong(name, "boxes too", "none")
            return
        if self.boxes.shape[1] != 4:
            raise self._wrong("boxes", "float32 (N, 4)", self.boxes)
        check_boxes(self._name("boxes"), self.boxes, (height, width))
        for name, dtype in SCORING_FIELDS.items():
            value = getattr(self, name)
            if value is None:
                continue
            value = np.asarray(value)
            if value.ndim != 1 or value.dtype.kind not in "fiu" or (value < 0).any():
                raise self._wrong(name, f"{dtype} (N,), not negative", value)
            object.__setattr__(self, name, value.astype(dtype, copy=False))
        for name in others:
            value = getattr(self, name)
            if value is not None and len(value) != len(self.boxes):
                raise self._wrong(name, f"{len(self.boxes)} entries, one per box", value)
        if self.classes is not None:
            count = None if self.known is None else len(self.known)
            check_numbers(self._name("classes"), self.classes, count, None, "; leave out what is no object")
        masks, points = self.instance_masks, self.keypoints
        if isinstance(masks, np.ndarray):
            if masks.shape[1:] != (height, width) or masks.max(initial=0) > 1:
                raise self._wrong("instance_masks", f"0 or 1 in uint8 (N, {height}, {width})", masks)
            masks = InstanceMasks.of(masks)
        elif masks is not None and masks.size != (height, width):
            raise self._wrong("instance_masks", f"masks of an image of {(height, width)}", f"of {masks.size}")
        if masks is not None:
            try:
                object.__setattr__(self, "instance_masks", masks.checked())
            except ValueError as error:
                raise ValueError(f"{self._name('instance_masks')}: {error}") from None
        if points is not None and (points.shape[2] != 3 or not np.isin(points[..., 2], (0, 1, 2)).all()):
            raise self._wrong("keypoints", "x, y, visibility 0, 1 or 2 in float32 (N, K, 3)", points)

    def _name(self, field):
        return f"{field} of {self.id or self.path or 'a sample'}"

    def _wrong(self, name, expected, value):
        came = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else value
        came = came if isinstance(came, str) else type(value).__name__
        return ValueError(f"{self._name(name)}: expected {expected}, got {came}.")

    def replace(self, **changes) -> "Sample":
        """A copy with some fields changed, validated again."""
        return dataclasses.replace(self, **changes)

    @property
    def labels(self) -> dict:
        """{field: value} of the set without a name."""
        return {name: getattr(self, name) for name in (*FIELDS, *SCORING_FIELDS)}

    def of(self, label_set: str | None) -> "Sample":
        """The image with the labels of one set: "" for the one without a name. A set that it lacks has no labels."""
        if label_set == "":
            return dataclasses.replace(self, sets={}) if self.sets else self
        return self.sets.get(label_set) or Sample(
            self.image, id=self.id, path=self.path, original_size=self.original_size
        )

    def each(self, function: Callable[["Sample"], "Sample"]) -> "Sample":
        """Apply `function` to each label set, as one Sample; it must change the image in the same way each time."""
        moved = function(self.of(""))
        return moved.replace(sets={name: function(one) for name, one in self.sets.items()}) if self.sets else moved


def _fits(dtype, wanted) -> bool:
    """Whether values of a NumPy type may be cast: floats to floats, bools to bools, whole numbers to whole numbers."""
    if wanted.kind == "b":
        return dtype.kind == "b"
    return (dtype.kind in "fc") == (wanted.kind == "f")
