"""The signals that ask a process to end: Ctrl-C, SIGTERM, and SIGHUP when a terminal closes."""

import contextlib
import signal
import threading
from collections.abc import Callable

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


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


def interrupt(number, frame):
    """Do what Python does on Ctrl-C.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt


def ignore():
    """Leave Ctrl-C and a closing terminal to the parent process; SIGTERM still ends this one."""
    for number in STOPS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
