"""The signals that ask a process to end (Ctrl-C, SIGTERM, SIGHUP when a terminal closes), and a file that asks too."""

import contextlib
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from visiontasks.errors import UserError

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
CODE = 130  # what a stopped command exits with
LOOK_SECONDS = 1.0  # between two looks for a stop file: it may lie on a disk of the network
GRACE_SECONDS = 2.0  # in which a process that was asked twice may still end by itself


class Interrupted(KeyboardInterrupt):
    """A stop at any moment.

    Where KeyboardInterrupt itself ends `exec` of a text, as it makes dataclasses, Python later ends the process by
    SIGINT, whatever exit code it was given. This kind of it does not.
    """


class Stopped(Interrupted):
    """A stop at the end of a step, with nothing half done."""


class Stop:
    """Whether something has asked this process to end, for loops that end after the running step.

    Args:
        file: asks as soon as it exists; "~" is the home folder; None: only signals do.

    Attributes:
        asked: what has: a signal's name, or the file; "" as long as nothing has.
    """

    def __init__(self, file: str | Path | None = None):
        self.file, self.asked = file and Path(os.path.expanduser(file)), ""
        self._seen, self._looked = set(), -LOOK_SECONDS

    @contextlib.contextmanager
    def handling(self, then: Callable | None = None) -> Iterator["Stop"]:
        """Within the block a signal asks, and calls `then()`.

        Raises:
            Interrupted: at once, at a second signal of one kind. (The end of a session sends several kinds.)
        """

        def ask(number, frame):
            name = signal.Signals(number).name
            if name in self._seen:
                raise Interrupted(name)
            self._seen.add(name)
            self.asked = self.asked or name  # nothing is printed: the stream may be the one that was interrupted
            if then is not None:
                then()

        # what an outer block noticed and its exception did not bring about
        lost = (getattr(signal.getsignal(number), "asked", "") for number in STOPS)
        self.asked = self.asked or next(filter(None, lost), "")
        with handled(ask):
            yield self

    @contextlib.contextmanager
    def after_steps(self) -> Iterator["Stop"]:
        """Within the block signals wait for `check`, or for its end.

        Raises:
            Stopped: at the end of a block that did not end by an exception.
        """
        with self.handling():
            yield self
        self.check()

    def poll(self) -> bool:
        """Whether something has asked; a look for the file, at most one a second."""
        if not self.asked and self.file is not None and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            with contextlib.suppress(OSError):  # a network disk may be away for a while: training is not
                self._look()
        return bool(self.asked)

    def _look(self):
        try:
            self.file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return
        self.asked = f"the stop file {self.file}"

    def begin(self, argument: str):
        """As `check`, before the first step; `argument` is what chose the file.

        Raises:
            Stopped: the file is there.
            UserError: the path is none that can be looked at.
        """
        try:
            if self.file is not None:
                self._look()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot look for {self.file}: {reason}. Give another path.", argument) from error
        self.check()

    def check(self):
        """The end of a step.

        Raises:
            Stopped: something has asked.
        """
        if self.poll():
            raise Stopped(self.asked)


@contextlib.contextmanager
def handled(handler: Callable):
    """Hand these signals to `handler(number, frame)` within a block; what is ignored (nohup) stays ignored.

    Python handles signals in its main thread only; in another one nothing is changed.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in STOPS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, kept in before.items():
            signal.signal(number, kept)


class Raising:
    """Does at each signal of a block what Python does on Ctrl-C, and remembers it.

    An exception that comes while Python runs a finalizer, or code that catches everything, is lost there: `check`, or a
    `Stop` within the block, brings it back.
    """

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        """Within the block signals come here, and nothing is printed of one that is lost in a finalizer."""
        before = sys.unraisablehook

        def hook(lost):
            if not issubclass(lost.exc_type, Interrupted):
                before(lost)

        sys.unraisablehook = hook
        try:
            with handled(self):
                yield
        finally:
            sys.unraisablehook = before

    def __init__(self):
        self.asked = ""

    def __call__(self, number, frame):
        self.asked = signal.Signals(number).name
        raise Interrupted(self.asked)

    def check(self):
        """Raise what was lost.

        Raises:
            Interrupted: a signal has come.
        """
        if self.asked:
            raise Interrupted(self.asked)


@contextlib.contextmanager
def forced():
    """End the process if a block does not end by itself within two seconds after a second signal of one kind.

    Python's handlers wait until a call into a library returns, such as one that compiles. What the system tells a file
    at once, a thread reads here.
    """
    if threading.current_thread() is not threading.main_thread() or os.name == "nt":  # where a pipe has no `select`
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    owner = os.getpid()
    watcher = threading.Thread(target=_watch, args=(read,), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        if os.getpid() == owner:  # a forked process has no watcher
            signal.set_wakeup_fd(before)
            os.close(write)
            watcher.join()
            os.close(read)


def _watch(read: int):
    seen = set()
    while numbers := os.read(read, 16):
        for number in numbers:
            if number in seen:
                ready, _, _ = select.select([read], [], [], GRACE_SECONDS)
                if ready and not os.read(read, 16):  # the block has ended
                    return
                _end_at_once()
            if number in STOPS:
                seen.add(number)


def _end_at_once():
    for child in multiprocessing.active_children():
        child.kill()
    with contextlib.suppress(OSError):
        os.write(2, b"stopped at once\n")
    os._exit(CODE)


def ignore():
    """Leave Ctrl-C and a closing terminal to the parent process; SIGTERM still ends this one."""
    for number in STOPS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
