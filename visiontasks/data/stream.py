"""`Stream`: batches by number from grain's workers, threads or processes, which live longer than an epoch."""

import multiprocessing
import os
import threading
import weakref

import cv2
import grain
import numpy as np
from absl import flags

from visiontasks import signals
from visiontasks.data.batch import Batch
from visiontasks.data.worker_processes import WorkerProcesses

_CLOSING_SECONDS = 20.0


class Stream:
    """Batches by number from one endless grain iterator, so that its workers live as long as the loader.

    Args:
        endless: gives each batch by its number.
        steps: batches per epoch.
        workers: threads or processes; 0: batches are made in the caller's thread.
        worker_kind: "threads" or "processes".
        ahead: the most batches that threads make before they are asked for.
    """

    def __init__(self, endless: grain.MapDataset, steps: int, workers: int, worker_kind: str, ahead: int):
        self._endless, self._steps, self._workers, self._ahead = endless, steps, workers, ahead
        self._processes = worker_kind == "processes" and workers > 0
        self._opened = []  # the iterator, if it is open
        weakref.finalize(self, _stop, self._opened)  # at the interpreter's end grain cleans up too late
        self._alive = None  # the worker processes
        self._next = 0  # the number of the batch that the iterator gives next
        self._begin = None  # (number, state): where the epoch began, to return to it without new workers
        self._lock = threading.Lock()  # tf.data iterates from its own thread

    def get(self, number: int) -> Batch:
        """The batch of a number; the next one is already being made."""
        with self._lock:
            if not self._opened or number != self._next:
                self._seek(number)
            (iterator,) = self._opened
            if number % self._steps == 0:
                self._begin = number, iterator.get_state()
            try:
                batch = self._alive.wait_for(lambda: next(iterator)) if self._processes else next(iterator)
            except BaseException:  # Ctrl-C too: the position of the iterator is then unknown
                self._close()
                raise
            self._next = number + 1
            if self._processes:  # shared memory is scarce, and is freed with its owner
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
        cv2.setNumThreads(0)  # OpenCV's threads and the loader's would compete for the same cores
        threads, ahead = (0, 0) if self._processes else (self._workers, self._ahead)
        batches = self._endless[number:].to_iter_dataset(grain.ReadOptions(threads, ahead))
        if self._processes:
            self._alive = WorkerProcesses()
            options = grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=2)
            batches = batches.mp_prefetch(options, worker_init_fn=_begin_worker)
        return iter(batches)

    def close(self):
        """Stop the workers."""
        with self._lock:
            self._close()

    def _close(self):
        self._begin = None
        if self._alive is not None and self._alive.dead:
            self._alive.kill()
            # grain may wait without end for a lock that a killed process has
            closing = threading.Thread(target=_stop, args=(self._opened,), daemon=True)
            closing.start()
            closing.join(_CLOSING_SECONDS)
        else:
            _stop(self._opened)


def _stop(opened: list):
    while opened:
        opened.pop().close()


def _begin_worker(worker: int, workers: int):
    cv2.setNumThreads(0)
    signals.ignore()  # Ctrl-C reaches all processes of a terminal; the one that trains ends its workers itself
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """End this worker when its parent is killed: grain's workers wait without end for room in their queue."""
    multiprocessing.parent_process().join()
    os._exit(1)
