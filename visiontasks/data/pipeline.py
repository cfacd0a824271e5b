"""`Loader`: the samples of a source as batches of fixed shapes, which Keras's `fit` and `evaluate` take as they are.

The reading and augmenting runs in threads or processes, and neither their kind nor their number
changes a single pixel.
"""

import math
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence

import cv2
import grain
import numpy as np
from absl import flags

from visiontasks.data.batch import Assemble, Batch, Shapes, unreadable
from visiontasks.data.order import Order
from visiontasks.data.sources.source import Source
from visiontasks.data.transforms import Augment
from visiontasks.errors import DataError, RecipeError, UserError, near
from visiontasks.geometry import MODES, Placement
from visiontasks.sample import FIELDS, Sample

WORKER_KINDS = ("threads", "processes")
_COUNTED = ("tags", "keypoints")  # fields whose length the class names give


class Loader(grain.IterDataset):
    """Iterating it gives one epoch of batches, {"image": uint8 (B, H, W, 3), field: array …}, all of one shape.

    Training: shuffled anew each epoch, augmented, the remainder dropped. Epoch k is a function of (seed, k) alone;
    `epoch` says which one the next iteration gives and moves on when an iteration has been exhausted, so that Keras's
    peeking at the first batches leaves it alone. Set it to resume. (Where an epoch is a single batch, Keras's peek
    exhausts it: set `epoch` as each epoch begins.)

    Evaluation: in the source's order, without augmentation; the last batch is filled up with black pictures that are
    labelled as absent (`visiontasks.sample.FIELDS`), so that they add nothing to a loss.

    A picture that cannot be read is noted in `source.report`; training takes the next readable one in its place,
    evaluation leaves it out.

    Args:
        source: the samples.
        fields: the labels a batch has. One that a sample lacks gets its absent value. Boxes, classes, instance_masks
            (whole canvas) and keypoints are padded to `max_objects`, `classes` with -1 = no object here. With them come
            `ignored`, bool (B, max_objects), and `known`, bool (B, C): false for a class whose objects are not all in
            the batch, for all classes of an image that nobody labelled with boxes. Of too many objects the largest
            stay, ignored regions last; the classes of those left out are not known there.
        size: (height, width) of the pictures in a batch.
        batch: pictures a batch.
        training: see above.
        augment: transforms, as in a recipe; for training only. Those that take several pictures draw them at random.
        resize: "stretch", "letterbox" or "crop", see `visiontasks.geometry.Placement`.
        seed: of order and augmentation.
        workers: threads or processes that make batches; 0 makes them in the caller's thread.
        worker_kind: "threads" or "processes". Processes start once, not once an epoch, and take seconds to.
        max_objects: objects a picture has room for.
        names: class names by field; the source's where not given. They fix the number of tags and keypoints.
        sizes: for training, several sizes instead of `size`: each batch has one of them, all equally often. No two have
            a height or a width in common, for by the first two batches TensorFlow learns which sides change.

    Raises:
        DataError: the source is empty; a training batch is larger than it; the names of the tags are not known.
        RecipeError: an argument is not one of its choices, or the transforms are wrong.
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
        max_objects: int = 100,
        names: dict[str, Sequence[str]] | None = None,
        sizes: Sequence[tuple[int, int]] = (),
    ):
        super().__init__()
        self.names = dict(source.names if names is None else names)
        _check(source, fields, self.names, batch, training)
        for key, value, choices in (("resize", resize, MODES), ("worker_kind", worker_kind, WORKER_KINDS)):
            if value not in choices:
                raise RecipeError(f"data.{key}: unknown choice {value!r}. {near(str(value), choices)}")
        for key, value, least in (("size", min(size), 1), ("workers", workers, 0), ("max_objects", max_objects, 1)):
            if value < least:
                raise RecipeError(f"data.{key}: expected at least {least}, got {value}.")
        self.source, self.fields, self.size, self.training = source, tuple(fields), tuple(size), training
        self.batch_size, self.resize, self.workers, self.worker_kind = batch, resize, workers, worker_kind
        self.epoch = 0
        self.error: UserError | None = None  # what ended the last iteration: TensorFlow would hand on its text alone
        counts = {
            name: len(self.names[name]) for name in (*_COUNTED, "classes") if name in self.fields and name in self.names
        }
        self._shapes = Shapes(self.fields, self.size, batch, counts, max_objects)
        sizes = tuple(map(tuple, sizes)) if training and sizes else (self.size,)
        _check_sizes(sizes, len(self))
        points = self.names["keypoints"] if "keypoints" in self.fields else ()
        self._augments = {one: Augment(augment, one, resize, points) for one in sizes} if training else None
        self._seed = seed % 2**32  # as grain wants it
        self._order = Order(len(source), batch, len(self), self._seed if training else None, sizes)
        self._streams = {}

    def __len__(self) -> int:
        """Batches an epoch."""
        whole = len(self.source) / self.batch_size
        return math.floor(whole) if self.training else math.ceil(whole)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return _Epoch(self)

    def with_samples(self) -> Iterator[tuple[dict[str, np.ndarray], list[Sample]]]:
        """One pass over evaluation data: (batch, the Samples of its first rows in their original pixels).

        Raises:
            ValueError: the loader is for training.
        """
        if self.training:
            raise ValueError("with_samples: expected a loader made with training=False, got one for training.")
        return ((batch.arrays, batch.samples) for batch in self._batches(keep=True))

    def placement(self, sample: Sample) -> Placement:
        """How a sample of `with_samples` lies on its batch's canvas."""
        return Placement(sample.image.shape[:2], self.size, self.resize)

    def names_of(self, epoch: int, step: int) -> list[str]:
        """The files of a batch, row by row; its pictures are read once more to see which ones gave way to another."""
        assemble = self._assemble(keep=False)
        read = [assemble.read(int(index), []) for index in self._order(epoch * len(self) + step).indices]
        return [self.source.describe(number) for number, sample in read if sample is not None]

    def close(self):
        """Stop the workers; iterating starts them again."""
        for stream in self._streams.values():
            stream.close()

    def _assemble(self, keep):
        return Assemble(self.source, self._shapes, self._augments, self.resize, keep)

    def _batches(self, keep=False) -> Iterator[Batch]:
        """One epoch of the workers' batches; an error of the data or the transforms stays at hand as `error`."""
        self.error = None
        try:
            yield from self._checked(keep)
        except UserError as error:
            self.error = error
            raise

    def _checked(self, keep) -> Iterator[Batch]:
        """What the workers noted goes to the source's report; what failed there is raised here."""
        stream = self._streams.get(keep)
        if stream is None:
            endless = grain.MapDataset.range(sys.maxsize).map(self._order)
            endless = endless.random_map(self._assemble(keep), seed=self._seed)
            # originals may be large: no more batches of them ahead than there are threads
            ahead = self.workers if keep else 2 * self.workers
            stream = self._streams[keep] = _Stream(endless, len(self), self.workers, self.worker_kind, ahead)
        epoch, rows, notes = self.epoch, 0, []
        for step in range(len(self)):
            batch = stream.get(epoch * len(self) + step)
            for note in batch.notes:
                self.source.report.add(*note)
            if batch.error is not None:
                raise batch.error
            rows, notes = rows + batch.rows, notes + batch.notes
            yield batch
        if not rows:
            raise unreadable(len(self.source), notes)
        if not keep and self.epoch == epoch:  # nobody has set it meanwhile
            self.epoch = epoch + 1


def _check(source, fields, names, batch, training):
    for field in fields:
        if field not in FIELDS:
            raise RecipeError(f"data.fields: a Sample has no field {field!r}. {near(str(field), FIELDS)}")
        if field in _COUNTED and field not in names:
            raise DataError(
                f"data: the source names no {field}, so their number is not known; give names={{{field!r}: [...]}}."
            )
    if batch < 1:
        raise RecipeError(f"data.batch: expected at least 1, got {batch}.")
    if not len(source):
        raise DataError("data: expected at least one picture, the source has none. Check its folder.")
    if training and batch > len(source):
        raise DataError(
            f"data.batch: a batch of {batch} is larger than the {len(source)} training pictures, so no batch would be "
            f"full; set data.batch={len(source)} or less."
        )


def _check_sizes(sizes, steps):
    for side, values in zip(("height", "width"), zip(*sizes, strict=True), strict=True):
        if len(set(values)) < len(values) or min(values) < 1:
            raise RecipeError(f"data.sizes: expected another {side} in each of several sizes, got {list(sizes)}.")
    if len(sizes) > 1 and steps < 2:
        raise RecipeError("data.sizes: several sizes need two batches an epoch or more; make data.batch smaller.")


class _Epoch(grain.DatasetIterator):
    """One epoch of a Loader, as grain wants an iterator to be: Keras maps over it."""

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


class _Stream:
    """Batches by their number from one endless grain iterator, so that its workers live as long as the loader."""

    def __init__(self, endless: grain.MapDataset, steps: int, workers: int, worker_kind: str, ahead: int):
        self._endless, self._steps, self._workers, self._ahead = endless, steps, workers, ahead
        self._processes = worker_kind == "processes" and workers > 0
        self._opened = []  # the iterator, if there is one
        weakref.finalize(self, _stop, self._opened)  # at the interpreter's end grain's own clean-up comes too late
        self._next = 0  # the number of the batch that the iterator gives next
        self._begin = None  # (number, state): where the epoch began, to go back to without new workers
        self._lock = threading.Lock()  # tf.data iterates from a thread of its own

    def get(self, number: int) -> Batch:
        """The batch of a number; the next one is already being made."""
        with self._lock:
            if not self._opened or number != self._next:
                self._seek(number)
            (iterator,) = self._opened
            if number % self._steps == 0:
                self._begin = number, iterator.get_state()
            try:
                batch = next(iterator)
            except BaseException as error:  # Ctrl-C too: how far the iterator came is not known any more
                self._close()
                if self._processes and "terminated unexpectedly" in str(error):
                    raise RuntimeError(
                        f"data.workers: a worker process died ({error}) It may have run out of memory: use fewer "
                        "(data.workers) or threads (data.worker_kind=threads)."
                    ) from error
                raise
            self._next = number + 1
            if self._processes:  # shared memory is scarce, and gone when its owner is collected
                arrays = {name: np.array(array) for name, array in batch.arrays.items()}
                batch = batch._replace(arrays=arrays)
            return batch

    def _seek(self, number):
        if self._begin is not None and self._begin[0] == number:
            self._opened[0].set_state(self._begin[1])
        else:
            self._close()
            self._opened.append(self._open(number))
        self._next = number

    def _open(self, number):
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # else grain turns every error into absl's UnparsedFlagAccessError
        cv2.setNumThreads(0)  # OpenCV's own threads and ours would fight for the same cores
        threads, ahead = (0, 0) if self._processes else (self._workers, self._ahead)
        batches = self._endless[number:].to_iter_dataset(grain.ReadOptions(threads, ahead))
        if self._processes:
            options = grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=2)
            batches = batches.mp_prefetch(options, worker_init_fn=_quiet_opencv)
        return iter(batches)

    def close(self):
        """Stop the workers."""
        with self._lock:
            self._close()

    def _close(self):
        self._begin = None
        _stop(self._opened)


def _stop(opened: list):
    while opened:
        opened.pop().close()


def _quiet_opencv(worker: int, workers: int):
    cv2.setNumThreads(0)
