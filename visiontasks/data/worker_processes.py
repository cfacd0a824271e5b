"""`WorkerProcesses`: waits for what grain's worker processes give, but not for one that has died."""

import multiprocessing
import queue
import threading
from collections.abc import Callable

from visiontasks.errors import UserError

_POLL_SECONDS = 0.1
_GRAIN_SECONDS = 2.0  # in which grain itself may find out: then its iterator can be closed


class WorkerProcesses:
    """The processes that are started after this is made.

    A process that is killed while it writes a batch leaves half of it in a pipe, and grain waits for the other half
    without end: its own process holds the pipe's other end open too.
    """

    def __init__(self):
        self._others = {process.pid for process in multiprocessing.active_children()}
        self._mine: dict[int, multiprocessing.Process] = {}

    def wait_for(self, call: Callable):
        """`call()`, made in another thread, where it may wait for ever.

        Raises:
            UserError: a process has died.
        """
        results = queue.SimpleQueue()
        threading.Thread(target=_call, args=(call, results), daemon=True).start()
        waited = 0.0
        while True:
            try:
                value, error = results.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                waited = waited + _POLL_SECONDS if self.dead else 0.0
                if waited >= _GRAIN_SECONDS:
                    self.kill()
                    raise self.error() from None
                continue
            self._note()
            if error is None:
                return value
            # grain has no type of its own for it
            if self.dead and "terminated unexpectedly" in str(error):
                raise self.error() from error
            raise error

    @property
    def dead(self) -> list[multiprocessing.Process]:
        """Those that ended by a signal or an error."""
        self._note()
        return [process for process in self._mine.values() if process.exitcode]

    def _note(self):
        """Remember who lives: Python forgets a process as soon as it sees that it has ended."""
        for process in multiprocessing.active_children():
            if process.pid not in self._others:
                self._mine[process.pid] = process

    def error(self) -> UserError:
        """What to say of the dead."""
        ends = ", ".join(sorted({_end(process.exitcode) for process in self.dead}))
        return UserError(
            f"a worker process died ({ends}). It may have run out of memory: use fewer (workers=1) or threads "
            "(worker_kind=threads).",
            "workers",
        )

    def kill(self):
        """End those that are left: nobody reads what they write."""
        for process in self._mine.values():
            process.kill()


def _call(call, results):
    try:
        results.put((call(), None))
    except BaseException as error:
        results.put((None, error))


def _end(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
