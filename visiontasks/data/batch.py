"""Makes one batch of fixed shapes from sample numbers: the work of a loader's worker."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from visiontasks.data.order import Draw
from visiontasks.data.placing import place, placement_of
from visiontasks.data.report import Note
from visiontasks.data.room import too_many
from visiontasks.data.sources.source import Source
from visiontasks.data.transforms import Augment
from visiontasks.errors import BadImage, DataError, UserError
from visiontasks.instance_masks import InstanceMasks
from visiontasks.sample import FIELDS, OBJECT_FIELDS, Sample, by_set, named


class Batch(NamedTuple):
    """A worker's result; plain containers, so that arrays cross a process border as shared memory."""

    arrays: dict[str, np.ndarray]
    samples: list[Sample]  # as read, one per row, if requested
    rows: int  # number of rows with an image
    notes: list[Note]  # for the source's report, of which a worker process has only a copy
    error: UserError | None  # raised by the receiver, so that it is not a worker's crash


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The fixed shapes of a batch.

    Args:
        fields: the Sample fields besides the image, with the names of their label sets, such as vehicles/boxes; with
            objects come `ignored` and, with classes, `known`.
        size: (height, width) of the images.
        batch_size: images per batch.
        counts: by field, the number of tags, of keypoints per object, and of classes, if `fields` has them.
        max_objects: objects per image.
        mask_size: rows and columns of an instance mask, as it lies in its object's box.
    """

    fields: tuple[str, ...]
    size: tuple[int, int]
    batch_size: int
    counts: dict[str, int]
    max_objects: int
    mask_size: int = 112

    def __post_init__(self):
        fields = list(self.fields)
        for label_set, names in by_set(self.fields).items():
            if names.keys() & set(OBJECT_FIELDS):
                more = ("known", "ignored") if names.get("classes") in self.counts else ("ignored",)
                more += ("boxes",) if "instance_masks" in names else ()  # which they lie in
                fields += named(label_set, more)
        object.__setattr__(self, "fields", tuple(dict.fromkeys(fields)))

    def empty(self) -> dict[str, np.ndarray]:
        """A batch of black images without labels."""
        arrays = {"image": np.zeros((self.batch_size, *self.size, 3), np.uint8)}
        for names in by_set(self.fields).values():
            tags, classes, points = (self.counts.get(names.get(one), 0) for one in ("tags", "classes", "keypoints"))
            shapes = {
                "label": (),
                "tags": (tags,),
                "mask": self.size,
                "boxes": (self.max_objects, 4),
                "classes": (self.max_objects,),
                "known": (classes,),
                "ignored": (self.max_objects,),
                "instance_masks": (self.max_objects, self.mask_size, self.mask_size),
                "keypoints": (self.max_objects, points, 3),
            }
            for field, name in names.items():
                shape = (self.batch_size, *shapes[field])
                arrays[name] = np.full(shape, FIELDS[field].absent, FIELDS[field].dtype)
        return arrays


class Assemble:
    """Makes the batch of some samples; picklable, because it runs in a worker.

    Args:
        source: of the samples.
        shapes: of a batch; the size is replaced by the Draw's.
        augments: {size: Augment} for training, where the next readable image replaces an unreadable one; without it
            (evaluation) such an image is left out and the rows move up.
        resize: how images are placed on the canvas.
        keep: also return the samples as they were read, with their areas.
        share: the rows of the batch that are made; all by default.
    """

    def __init__(
        self,
        source: Source,
        shapes: Shapes,
        augments: dict[tuple[int, int], Augment] | None,
        resize: str,
        keep: bool = False,
        share: slice = slice(None),
    ):
        self.source, self.shapes, self.augments, self.resize, self.keep = source, shapes, augments, resize, keep
        self.share = share
        # the fields to read: the batch's, and those that the transforms use besides
        more = next(iter(augments.values())).fields if augments else ()
        more = {name for name in source.fields if name.rpartition("/")[2] in more}
        # `known` and `ignored` come with the boxes
        asked = [name for name in shapes.fields if name.rpartition("/")[2] not in ("known", "ignored")]
        self.wanted = (*asked, *sorted(more - set(asked)))

    def __call__(self, draw: Draw, rng: np.random.Generator) -> Batch:
        """The batch of the drawn samples; independent of the worker."""
        arrays, samples, notes, rows = dataclasses.replace(self.shapes, size=draw.size).empty(), [], [], 0
        # one seed per image, so that it does not depend on how many random numbers another image used
        seeds = rng.integers(2**63, size=len(draw.indices))[self.share]
        try:
            for index, seed in zip(draw.indices[self.share].tolist(), seeds.tolist(), strict=True):
                number, sample = self.read(index, notes)
                if sample is None:
                    continue
                if self.keep:
                    samples.append(sample)
                read = sample = self._needed(sample)
                if self.augments:
                    another = functools.partial(self._another, number, notes)
                    sample = self.augments[draw.size](sample, np.random.default_rng(seed), another, draw.epoch)
                else:
                    sample = place(sample, placement_of(sample, draw.size, self.resize))
                self._fill(arrays, rows, sample, read, notes)
                rows += 1
        except UserError as error:
            return Batch({}, [], 0, notes + self.source.report.fresh(), error)
        return Batch(arrays, samples, rows, notes + self.source.report.fresh(), None)

    def read(self, index: int, notes: list, among: Sequence[int] | None = None) -> tuple[int, Sample | None]:
        """The sample and its number. If it is unreadable: in training the next readable one, in evaluation None.

        Args:
            index: the sample's number.
            notes: to which what is skipped is added.
            among: the numbers of which the next one is taken, in order; by default all.

        Raises:
            DataError: training, and no image can be read.
        """
        among = range(len(self.source)) if among is None else among
        start = among.index(index)
        for turn in range(len(among) if self.augments else 1):
            number = among[(start + turn) % len(among)]
            try:
                return number, self.source.read(number, self.wanted)
            except BadImage as bad:
                notes.append(Note(f"{bad.reason}, skipped", bad.path, skipped=True))
        if self.augments:
            raise unreadable(len(self.source), notes)
        return index, None

    def _another(self, number, notes, rng) -> Sample:
        """A random other sample (or this one, if there is no other), for transforms of several images."""
        others = self.source.alike(number)
        chosen = (others.index(number) + 1 + int(rng.integers(max(1, len(others) - 1)))) % len(others)
        _, sample = self.read(others[chosen], notes, others)
        return self._needed(sample)

    def _needed(self, sample: Sample) -> Sample:
        """The sample without labels that the batch does not have: moving masks and points would be the largest cost."""
        wanted = by_set(self.wanted)

        def only(sample, needed):
            if set(needed) & set(OBJECT_FIELDS):
                needed = {*needed, "boxes", "classes", "known", "ignored"}  # they decide which objects are kept
            changes = {name: None for name, value in sample.labels.items() if name not in needed and value is not None}
            return dataclasses.replace(sample, **changes) if changes else sample

        sets = {name: only(one, wanted[name]) for name, one in sample.sets.items() if name in wanted}
        alone = only(sample.of(""), wanted.get("", {}))
        return dataclasses.replace(alone, sets=sets) if sets else alone

    def _fill(self, arrays, row, sample, read, notes):
        arrays["image"][row] = sample.image
        for label_set, names in by_set(self.shapes.fields).items():
            rows = {field: arrays[name][row, ...] for field, name in names.items()}
            boxes = read.of(label_set).boxes
            joined = boxes is None or len(boxes) <= self.shapes.max_objects
            self._fill_set(rows, sample.of(label_set), joined, notes)

    def _fill_set(self, rows, sample, joined, notes):
        """Write the labels of one set into {field: a batch's array at the sample's row}.

        Args:
            rows: see above.
            sample: of one label set.
            joined: whether too many objects are those of several images.
            notes: get what is left out.
        """
        if "known" in rows and sample.boxes is not None:
            rows["known"][:] = True if sample.known is None else sample.known
        chosen = self._chosen(sample, rows)
        if chosen is not None and not chosen.all():
            notes.append(Note(too_many(self.shapes.max_objects, joined), sample.path or sample.id, skipped=True))
            if "known" in rows and sample.classes is not None:
                rows["known"][sample.classes[~chosen]] = False  # otherwise these objects would be background
        for name, values in rows.items():
            value = getattr(sample, name)
            if value is None or name == "known":
                continue
            if name in OBJECT_FIELDS:
                value = value[chosen]
                if name == "instance_masks":
                    value = value.crops(sample.boxes[chosen], values.shape[-1])
                values[: len(value)] = value
            else:
                values[...] = value

    def _chosen(self, sample, rows):
        """bool (N,): the objects that fit into the batch: the largest, and ignored regions last; None without boxes."""
        if sample.boxes is None or not rows.keys() & set(OBJECT_FIELDS):
            return None
        sizes = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)
        ignored = np.zeros(len(sizes), bool) if sample.ignored is None else sample.ignored
        chosen = np.zeros(len(sizes), bool)
        chosen[np.lexsort((-sizes, ignored))[: self.shapes.max_objects]] = True
        return chosen


def unreadable(count: int, notes: list[Note]) -> DataError:
    """The error for a source without readable images."""
    shown = "; ".join(f"{note.name}: {note.what}" for note in notes[:3])
    return DataError(f"none of the {count} images can be read ({shown}). Check the folder and the files in it.", "data")


def check_readable(source: Source):
    """Raise unless an image of a source can be read; those before the first one are read too.

    Raises:
        DataError: none can.
    """
    notes = []
    for index in range(len(source)):
        try:
            source.read(index, ())
            return
        except BadImage as bad:
            notes.append(Note(bad.reason, bad.path, skipped=True))
    raise unreadable(len(source), notes)


def row_of(arrays: dict[str, np.ndarray], row: int) -> Sample:
    """The Sample of one row of a batch, on the batch's canvas, without padded objects.

    An image without a known class and without an object has no box labels; arrays without `known` have.
    """
    sets = {}
    for label_set, names in by_set(arrays).items():
        labels = {field: arrays[name][row] for field, name in names.items() if field in FIELDS}
        sets[label_set] = _labels(labels, arrays["image"].shape[1:3])
    return Sample(arrays["image"][row], **sets.pop("", {}), sets=sets)


def _labels(labels, size):
    """The Sample fields of a row of one label set."""
    objects = {name: labels.pop(name) for name in OBJECT_FIELDS if name in labels}
    classes, boxes, known = objects.get("classes"), objects.get("boxes"), labels.pop("known", None)
    if boxes is not None:
        valid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) if classes is None else classes >= 0
        if known is None or known.any() or valid.any():
            labels |= {name: value[valid] for name, value in objects.items()}
            labels["known"] = known
    if "instance_masks" in labels:
        labels["instance_masks"] = InstanceMasks.of_crops(labels["instance_masks"], labels["boxes"], size)
    return labels
