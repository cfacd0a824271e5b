"""Runs a function over every item of a data set before training: in threads, with a progress bar if it takes long."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

QUIET_SECONDS = 2.0  # a scan shorter than this shows nothing


def scan(look: Callable, items: Sequence, what: str) -> Iterator:
    """`look(item)` for every item, in order, computed in threads; `what` labels the progress bar.

    An exception in `look` is raised when its item is reached.
    """
    start, bar = time.monotonic(), None
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for done, result in enumerate(pool.map(look, items), start=1):
            yield result
            if bar is None and time.monotonic() - start > QUIET_SECONDS:
                bar = _bar(what, len(items))
            if bar is not None:
                bar.update(0, completed=done)
    finally:
        pool.shutdown(cancel_futures=True)
        if bar is not None:
            bar.stop()


def _bar(what, total):
    from rich.progress import Progress

    bar = Progress(transient=True)
    bar.add_task(what, total=total)
    bar.start()
    return bar
