"""`Loader`: the samples of a source in batches of fixed shapes, which Keras's `fit` and `evaluate` take.

Threads or processes read and augment. Their kind and number never change a pixel.
"""

import math
import sys
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from visiontasks.data.batch import Assemble, Batch, Shapes, unreadable
from visiontasks.data.bit_depth import bits_of
from visiontasks.data.derived import EachObject
from visiontasks.data.order import Order
from visiontasks.data.placing import placement_of
from visiontasks.data.room import make_room
from visiontasks.data.sources.source import Source
from visiontasks.data.stream import Stream
from visiontasks.data.transforms import Augment, joined_images
from visiontasks.errors import DataError, RecipeError, UserError, near
from visiontasks.geometry import RESIZES, Placement, Window
from visiontasks.sample import FIELDS, Sample

WORKER_KINDS = ("threads", "processes")
_COUNTED = ("tags", "keypoints")  # fields whose length is the number of names


class Loader(grain.IterDataset):
    """Iterating gives one epoch of batches, {"image": uint8 (B, H, W, 3), field: array …}, all of one shape.

    Training: the order is shuffled in each epoch, images are augmented, an incomplete last batch is dropped. Epoch k
    is a function of (seed, k) alone. `epoch` is the epoch that the next iteration gives; it advances when an iteration
    ends, so Keras may peek at the first batches without changing it. To resume, set it, and `step` to the batch with
    which the epoch goes on. (Where an epoch is a single batch, Keras's peek ends it: set both as each epoch begins.)
    With `repeat = True` an iteration goes on with the next epoch, without end.

    Evaluation: in the source's order, without augmentation. The last batch is filled up with black images without
    labels (`visiontasks.sample.FIELDS`), which add nothing to a loss.

    An image that cannot be read is noted in `source.report`. Training uses the next readable image instead, evaluation
    leaves it out.

    Args:
        source: the samples.
        fields: the labels in a batch; those of a named label set such as vehicles/boxes. A field that a sample lacks
            gets its absent value. Boxes, classes, instance_masks and keypoints are padded to
            `max_objects`, `classes` with -1 = no object here. With them come
            `ignored`, bool (B, max_objects), and `known`, bool (B, C): false for a class whose objects are not all in
            the batch, for all classes of an image that nobody labeled with boxes. Of too many objects the largest
            stay, ignored regions last; the classes of those left out are not known there. An instance mask is
            uint8 (B, max_objects, mask_size, mask_size), 0 or 1 on a grid over its object's box; 255 where an object
            has no mask.
        size: (height, width) of the images in a batch.
        batch: images per batch.
        training: see above.
        augment: transforms, as in a recipe; for training only. Those that take several images draw them at random.
        resize: "stretch", "letterbox" or "crop", see `visiontasks.geometry.Placement`; or "object": each object with
            keypoints is a sample of its own and fills the canvas, see `visiontasks.geometry.Window`.
        seed: of order and augmentation.
        workers: threads or processes that make batches; 0 makes them in the caller's thread.
        worker_kind: "threads" or "processes". Processes take seconds to start; they start once, not once per epoch.
        max_objects: objects per image that a batch has room for; None: for those of every image, at least 100, and
            where transforms join images (Mosaic, MixUp, CopyPaste) for those of as many, in 99 of 100 draws. An image
            that is known to have more is noted in `source.report` at once.
        mask_size: rows and columns of an instance mask.
        names: class names by field; by default the source's. They fix the number of tags and keypoints.
        sizes: for training, several sizes instead of `size`: each batch has one of them, all equally often. All heights
            and all widths must differ, because TensorFlow learns from the first two batches which axes vary.
        share: (i, n): what process i of n reads. Training: its rows of each batch, as many as each of the others, the
            same images with the same augmentation as in the whole batch. Evaluation: every n-th batch, from i on.

    Raises:
        DataError: the source is empty; a training batch is larger than it; the names of the tags are not known.
        RecipeError: an argument is not among its choices, or the transforms are wrong.
    """

    def __init__(
        self,
        source: Source,
        *,
        fields: Sequence[str],
        size: tuple[int, int] = (256, 256),
        batch: int = 8,
        training: bool = False,
        augment: Sequence = (),
        resize: str = "stretch",
        seed: int = 0,
        workers: int = 2,
        worker_kind: str = "threads",
        max_objects: int | None = None,
        mask_size: int = 112,
        names: dict[str, Sequence[str]] | None = None,
        sizes: Sequence[tuple[int, int]] = (),
        share: tuple[int, int] = (0, 1),
    ):
        super().__init__()
        if resize == "object":
            source, max_objects = EachObject(source, _posed_set(fields)), 1
        self.names = dict(source.names if names is None else names)
        _check(source, fields, self.names, batch, training, share[1])
        for key, value, choices in (("resize", resize, RESIZES), ("worker_kind", worker_kind, WORKER_KINDS)):
            if value not in choices:
                raise RecipeError(f"unknown choice {value!r}. {near(str(value), choices)}", key)
        max_objects = make_room([source], fields, max_objects, joined_images(augment) if training else 1)
        bounds = (("size", min(size), 1), ("workers", workers, 0))
        for key, value, least in (*bounds, ("max_objects", max_objects, 1), ("mask_size", mask_size, 1)):
            if value < least:
                raise RecipeError(f"expected at least {least}, got {value}.", key)
        self.source, self.fields, self.size, self.training = source, tuple(fields), tuple(size), training
        self.batch_size, self.resize, self.workers, self.worker_kind = batch, resize, workers, worker_kind
        self.epoch = self.step = 0
        self.repeat = False
        self.left_out: set[int] = set()  # numbers of training batches, counted through all epochs, that nobody gets
        self.error: UserError | None = None  # what ended the last iteration: TensorFlow passes on only its text
        counts = {name: len(self.names[name]) for name in {*self.fields} & {*self.names}}
        index, self._processes = share
        rows = batch // self._processes if training else batch
        self._rows = slice(index * rows, (index + 1) * rows) if training else slice(None)
        self._shapes = Shapes(self.fields, self.size, rows, counts, max_objects, mask_size)
        sizes = tuple(map(tuple, sizes)) if training and sizes else (self.size,)
        _check_sizes(sizes, self._steps)
        points = {label_set: self.names[name] for name, label_set, field in _split(fields) if field == "keypoints"}
        self._augments = {one: Augment(augment, one, resize, points) for one in sizes} if training else None
        self._seed = seed % 2**32  # grain takes 32 bits
        turns = (0, 1) if training else share
        self._order = Order(len(source), batch, self._steps, self._seed if training else None, sizes, turns)
        self._streams = {}

    @property
    def bits(self) -> int | None:
        """Of the images of 16 bits, how many hold values; None if they were not looked at, or there is none."""
        return bits_of(self.source)

    def __len__(self) -> int:
        """Batches per epoch."""
        return self._steps if self.training else math.ceil(self._steps / self._processes)

    @property
    def _steps(self):
        """Batches per epoch of all processes."""
        whole = len(self.source) / self.batch_size
        return math.floor(whole) if self.training else math.ceil(whole)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return _Epoch(self)

    def with_samples(self) -> Iterator[tuple[dict[str, np.ndarray], list[Sample]]]:
        """One pass over evaluation data: (batch, the Samples of its first rows in original pixels).

        Raises:
            ValueError: the loader is for training.
        """
        if self.training:
            raise ValueError("with_samples: expected a loader made with training=False, got one for training.")
        return ((batch.arrays, batch.samples) for batch in self._batches(keep=True))

    def placement(self, sample: Sample) -> Placement | Window:
        """How a sample of `with_samples` lies on its batch's canvas."""
        return placement_of(sample, self.size, self.resize)

    def of_images(self) -> "Loader":
        """A Loader of the whole images of this one's samples, in which each object is alone; itself if none is."""
        if not isinstance(self.source, EachObject):
            return self
        return Loader(
            self.source.source,
            fields=self.fields,
            size=self.size,
            resize="letterbox",
            workers=self.workers,
            worker_kind=self.worker_kind,
            names=self.names,
        )

    def names_of(self, epoch: int, step: int) -> list[str]:
        """The files of a batch, row by row. Its images are read again to see which ones were replaced."""
        assemble = self._assemble(keep=False)
        read = [assemble.read(int(index), []) for index in self._order(epoch * len(self) + step).indices]
        return [self.source.describe(number) for number, sample in read if sample is not None]

    def close(self):
        """Stop the workers; iterating starts new ones."""
        for stream in self._streams.values():
            stream.close()

    def _assemble(self, keep):
        return Assemble(self.source, self._shapes, self._augments, self.resize, keep, self._rows)

    def _batches(self, keep=False) -> Iterator[Batch]:
        """One epoch of the workers' batches; `error` keeps an error of the data or the transforms.

        With `repeat` this and all later epochs. A backend may read epochs ahead, and the attributes are then behind.
        """
        self.error, epoch, first = None, self.epoch, self.step
        try:
            yield from self._checked(keep, epoch, first)
            while self.repeat and not keep:
                epoch += 1
                yield from self._checked(keep, epoch)
        except UserError as error:
            self.error = error
            raise
        if not keep and self.epoch == epoch:  # unless it was set meanwhile
            self.epoch, self.step = epoch + 1, 0

    def _checked(self, keep, epoch, first=0) -> Iterator[Batch]:
        """The batches of an epoch. Adds the workers' notes to the source's report and raises their errors."""
        stream = self._streams.get(keep)
        if stream is None:
            endless = grain.MapDataset.range(sys.maxsize).map(self._order)
            endless = endless.random_map(self._assemble(keep), seed=self._seed)
            # originals may be large: no more batches of them ahead than there are threads
            ahead = self.workers if keep else 2 * self.workers
            stream = self._streams[keep] = Stream(endless, len(self), self.workers, self.worker_kind, ahead)
        rows, notes = 0, []
        for step in range(first, len(self)):
            number = epoch * len(self) + step
            batch = stream.get(number)
            for note in batch.notes:
                self.source.report.add(note)
            if batch.error is not None:
                raise batch.error
            rows, notes = rows + batch.rows, notes + batch.notes
            if keep or number not in self.left_out:
                yield batch
        if not rows and not first:
            raise unreadable(len(self.source), notes)


def samples_of(images) -> Iterator[Sample]:
    """The samples of a source of images alone, one at a time, because images may be huge."""
    loader = Loader(images, fields=(), size=(1, 1), batch=1)
    return (sample for _, few in loader.with_samples() for sample in few)


def _check(source, fields, names, batch, training, processes):
    for name, _, field in _split(fields):
        if field not in FIELDS:
            raise RecipeError(f"a Sample has no field {name!r}. {near(str(field), FIELDS)}", "fields")
        if field in _COUNTED and name not in names:
            raise DataError(
                f"the source has no names of {name}, so their number is unknown; set names={{{name!r}: [...]}}.",
                "data",
            )
    if batch < 1:
        raise RecipeError(f"expected at least 1, got {batch}.", "batch")
    if not len(source):
        raise DataError("expected at least one image, the source has none. Check its folder.", "data")
    if training and batch > len(source):
        raise DataError(
            f"a batch of {batch} is larger than the {len(source)} training images, so no batch would be full.",
            "batch",
            fix=len(source),
        )
    if training and batch % processes:
        raise RecipeError(f"{batch} images cannot be shared evenly by {processes} processes.", "batch")


def _posed_set(fields) -> str:
    """The label set of the keypoints."""
    sets = [label_set for _, label_set, field in _split(fields) if field == "keypoints"]
    if len(sets) != 1:
        raise RecipeError(f"object needs the keypoints of one label set, got the fields {list(fields)}.", "resize")
    return sets[0]


def _split(fields):
    """(name, label set, field) of each."""
    return ((name, label_set, field) for name in fields for label_set, _, field in [str(name).rpartition("/")])


def _check_sizes(sizes, steps):
    for axis, values in zip(("height", "width"), zip(*sizes, strict=True), strict=True):
        if len(set(values)) < len(values) or min(values) < 1:
            raise RecipeError(f"expected a different {axis} in each of several sizes, got {list(sizes)}.", "sizes")
    if len(sizes) > 1 and steps < 2:
        raise RecipeError("several sizes need two batches per epoch or more; set a smaller batch.", "sizes")


class _Epoch(grain.DatasetIterator):
    """One epoch of a Loader, as the iterator that grain expects: Keras maps over it."""

    def __init__(self, loader: Loader):
        super().__init__()
        self._loader = loader
        self._batches = loader._batches()

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self._batches).arrays

    def get_state(self) -> dict:
        return {"epoch": self._loader.epoch}

    def set_state(self, state: dict):
        self._loader.epoch = state["epoch"]
        self._batches = self._loader._batches()
