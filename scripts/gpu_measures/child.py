"""The process of one measurement: `python -m gpu_measures.child KIND ARGUMENTS`, the arguments as JSON.

What it has measured so far goes, line by line, to the file $GPU_ROW, so that a row keeps what was known before a crash
or the end of its time. Processes that only compile run beside each other; a process that is timing runs alone.
"""

import contextlib
import ctypes
import fcntl
import importlib
import json
import math
import os
import signal
import sys
import time
import traceback
from pathlib import Path

PATIENCE = 60.0  # seconds that a process waits to be alone


class Skipped(Exception):
    """The measurement cannot be made here; the text says why."""


def report(**values):
    """Add to the row of this measurement."""
    with Path(os.environ["GPU_ROW"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain(values)) + "\n")


def plain(value):
    """What JSON can hold: NaN and infinities as words, NumPy's numbers as Python's."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def beside_others():
    """For what takes the processor, such as compiling: not while another process takes a time."""
    with _locked("door", fcntl.LOCK_EX):  # whoever waits to be alone holds the door: nobody new may begin
        pass
    with _locked("room", fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def alone():
    """For timing: no other process compiles or times.

    If one has not finished within PATIENCE, the time is taken beside it, and the row says so: what compiles for
    minutes, or hangs, must cost no other row.
    """
    with _locked("door", fcntl.LOCK_EX, PATIENCE) as first, _locked("room", fcntl.LOCK_EX, PATIENCE) as only:
        if not (first and only):
            report(beside_others=True)
        yield


@contextlib.contextmanager
def _locked(name, how, patience=float("inf")):
    """Holds a lock, or after `patience` seconds does not; gives which."""
    end = time.monotonic() + patience
    with Path(os.environ["GPU_SCRATCH"], f"{name}.lock").open("w") as file:
        while not (held := _tried(file, how)) and time.monotonic() < end:
            time.sleep(0.02)
        yield held


def _tried(file, how):
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_with_parent():
    """Let Linux end this process when gpu.py is killed, which cannot then end it itself."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main():
    kind, arguments = sys.argv[1], json.loads(sys.argv[2])
    _end_with_parent()
    try:
        if os.environ.get("KERAS_BACKEND") == "torch":
            import torch

            torch.set_float32_matmul_precision("high")  # TF32 on a GPU that has it, as JAX does
        importlib.import_module(f"gpu_measures.{kind}").measure(**arguments)
    except Skipped as reason:
        report(state="skipped", why=str(reason))
    except BaseException as error:
        traceback.print_exc()
        first = str(error).strip().partition("\n")[0]
        report(state="failed", why=f"{type(error).__name__}: {first}"[:300])
        raise SystemExit(1) from None
    else:
        report(state="ok")


if __name__ == "__main__":
    from gpu_measures import child  # whose `Skipped` is the one that measurements raise

    child.main()
