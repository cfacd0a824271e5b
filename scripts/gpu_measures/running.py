"""Runs measurements in processes of their own, in the order given, until the time is spent."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CHILD = (sys.executable, "-m", "gpu_measures.child")
LOG_LINES = 60  # of a failed process, kept in the log
ENDING = 5.0  # seconds kept back for ending processes and writing the last rows
GRACE = 3.0  # seconds between asking a process to end and ending it


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A planned row.

    Args:
        kind: a module of this folder.
        arguments: of its `measure`; with the kind they name the row.
        limit: seconds after which it is ended.
        least: seconds below which it is not begun; once one of its kind has ended, what the fastest took.
        alone: whether nothing else may run; otherwise others of its kind run beside it.
    """

    kind: str
    arguments: dict
    limit: float
    least: float
    alone: bool = True

    @property
    def key(self) -> str:
        return json.dumps([self.kind, self.arguments], sort_keys=True)

    @property
    def label(self) -> str:
        words = (str(value) for key, value in self.arguments.items() if value is not None and key != "tiny")
        return " ".join([self.kind, *words])


@dataclasses.dataclass
class _Process:
    measurement: Measurement
    process: subprocess.Popen
    row: Path
    log: Path
    begun: float
    end: float


class Runner:
    """Runs measurements and hands each one's row over as it ends.

    A row is {"kind", the arguments, "state", "why", "seconds", what was measured}; its state is "ok", "failed" (an
    error, a crash), "timed out", "skipped" (it cannot be made here), "no time", or "stopped" (by a signal).

    Args:
        scratch: a folder for everything that frameworks write, removed by the caller.
        log: a file that gets the last lines of processes that failed.
        seconds: time for all of them.
        at_once: how many that need not be alone run beside each other.
        on_row: called with each row.
        environment: variables for the processes, beside `child_environment`'s.
        command: what runs a measurement, given its kind and arguments.
    """

    def __init__(self, scratch: Path, log: Path, seconds: float, at_once: int, on_row, environment=None, command=CHILD):
        self.scratch, self.log, self.at_once, self.on_row = Path(scratch), Path(log), at_once, on_row
        self.command = command
        self.deadline = time.monotonic() + seconds
        self.environment = child_environment(self.scratch) | (environment or {})
        self.stopped = False
        self._running, self._fastest, self._count = [], {}, 0

    def stop(self, *_):
        """End what runs and begin nothing more; a signal handler."""
        self.stopped = True

    def run(self, measurements):
        """Run them in this order; those for which no time is left have rows too."""
        waiting = list(measurements)
        try:
            while (waiting or self._running) and not self.stopped:
                if waiting and self._left() < self._least(waiting[0]):
                    self._write(waiting.pop(0), {"state": "no time"})  # a later one may need less
                elif waiting and self._may_begin(waiting[0]):
                    self._begin(waiting.pop(0))
                else:
                    self._wait()
        finally:
            _end(*(running.process for running in self._running))
        for running in list(self._running):
            self._collect(running, "stopped")
        for measurement in waiting:
            self._write(measurement, {"state": "stopped"})

    def _left(self):
        return self.deadline - ENDING - time.monotonic()

    def _least(self, measurement):
        return min(self._fastest.get(measurement.kind, measurement.least), measurement.limit)

    def _may_begin(self, measurement):
        if measurement.alone or not self._running:
            return not self._running
        same = all(one.measurement.kind == measurement.kind for one in self._running)
        return same and not self._running[0].measurement.alone and len(self._running) < self.at_once

    def _begin(self, measurement):
        self._count += 1
        row, log = (self.scratch / f"{self._count}.{end}" for end in ("jsonl", "log"))
        now = time.monotonic()
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [*self.command, measurement.kind, json.dumps(measurement.arguments)],
                cwd=self.scratch,
                env=self.environment | {"GPU_ROW": str(row)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its own processes end with it
            )
        end = min(now + measurement.limit, self.deadline - ENDING)
        self._running.append(_Process(measurement, process, row, log, now, end))

    def _wait(self):
        late = [one for one in self._running if one.process.poll() is None and time.monotonic() > one.end]
        _end(*(running.process for running in late))
        for running in list(self._running):
            if running in late:
                self._collect(running, "timed out")
            elif running.process.poll() is not None:
                self._collect(running)
        time.sleep(0.05)

    def _collect(self, running, ended=None):
        self._running.remove(running)
        seconds = time.monotonic() - running.begun
        values = _read(running.row)
        if ended and values.get("state") != "ok":
            values |= {"state": ended, "why": f"ended after {seconds:.0f} s; what it had measured stays"}
        elif "state" not in values:
            code = running.process.returncode
            name = signal.Signals(-code).name if code < 0 else f"code {code}"
            values |= {"state": "failed", "why": f"the process ended by {name} before it reported a result"}
        if values["state"] == "ok":
            kind = running.measurement.kind
            self._fastest[kind] = min(seconds, self._fastest.get(kind, seconds))
        elif values["state"] != "skipped":
            self._keep_log(running, values)
        self._write(running.measurement, values | {"seconds": round(seconds, 1)})

    def _keep_log(self, running, values):
        lines = running.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        with self.log.open("a", encoding="utf-8") as file:
            file.write("\n".join([f"== {running.measurement.label}: {values['why']}", *lines, ""]) + "\n")

    def _write(self, measurement, values):
        self.on_row({"kind": measurement.kind, **measurement.arguments, "key": measurement.key, **values})


def child_environment(scratch: Path) -> dict[str, str]:
    """The environment of a measurement's process: this checkout first, and nothing written outside `scratch`."""
    path = [str(CHECKOUT), str(CHECKOUT / "scripts"), *filter(None, [os.environ.get("PYTHONPATH")])]
    folders = {
        "KERAS_HOME": "keras",
        "MPLCONFIGDIR": "matplotlib",
        "JAX_COMPILATION_CACHE_DIR": "jax",
        "TORCH_HOME": "torch",
        "TORCHINDUCTOR_CACHE_DIR": "inductor",
        "TRITON_CACHE_DIR": "triton",
        "CUDA_CACHE_PATH": "cuda",
        "XDG_CACHE_HOME": "cache",
        "TMPDIR": "tmp",
    }
    for name in folders.values():
        (scratch / name).mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_CLIENT_MEM_FRACTION"}
    return {
        **inherited,
        **{variable: str(scratch / name) for variable, name in folders.items()},
        "GPU_SCRATCH": str(scratch),
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "1",  # a folder of the scratch folder, such as torch, is no package
        # the small functions that initialize a network are compiled once for all processes
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # several processes share the card, and its peak is what was needed, not what was kept
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95",  # of 0.75: PyTorch has no limit either; with its newer name, an error
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }


def _end(*processes):
    """End processes and those that they have started, all within GRACE seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        end = time.monotonic() + GRACE
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))


def _read(path: Path) -> dict:
    """All that a process has reported; its last line may be half-written."""
    values = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            values |= json.loads(line)
    return values
