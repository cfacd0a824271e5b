"""Looks at every item of a data set once, before training: threaded, with a progress bar when it takes long."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

QUIET_SECONDS = 2.0  # a scan shorter than this shows nothing


def scan(look: Callable, items: Sequence, what: str) -> Iterator:
    """`look(item)` for every item, in order, computed by threads; `what` stands beside the progress bar.

    An exception in `look` comes out at its item's turn.
    """
    start, bar = time.monotonic(), None
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for done, found in enumerate(pool.map(look, items), start=1):
            yield found
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
