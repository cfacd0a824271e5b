"""`Processes`: the processes that train one model together, on one machine or several: JAX's, each with its devices."""

import atexit
import contextlib
import dataclasses
import errno
import json
import multiprocessing
import os
import re
import socket
import sys
import time

from visiontasks import keras_backend
from visiontasks.errors import UserError

ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
# a process that says nothing for so long, such as one whose machine has no power, ends the others; JAX's default is 100
SILENT_SECONDS = 60
# until all processes are there: a cluster may start them minutes apart
MEET_SECONDS = 300
# what JAX's errors say if a process is no longer there
_LOST = re.compile(r"gloo [\w-]+ failed|nccl|coordination service|heartbeat", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Processes:
    """The processes of a training, of which this is one. All of them run the same program on their share of each batch.

    What is here is called by all of them, in the same order. With one process nothing is exchanged.

    Args:
        index: of this process, from 0.
        count: how many there are.
        address: HOST:PORT of the first one, where they meet; None if they have met already.
    """

    index: int = 0
    count: int = 1
    address: str | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the run's folder and prints."""
        return self.index == 0

    @property
    def share(self) -> tuple[int, int]:
        """A Loader's `share`."""
        return self.index, self.count

    @contextlib.contextmanager
    def together(self):
        """A block that begins when all processes are there, and ends when all have ended it.

        If one fails, its connections close, and the others fail where they next wait for it.

        Raises:
            UserError: they do not meet, or another process has ended, or does not answer.
        """
        if self.count == 1:
            yield
            return
        import jax

        try:
            if self.address:
                _prepare(jax)
                self._meet(jax)
            yield
            self.any(False)
        except BaseException as error:
            if self.address:  # else the launcher ends this process
                # JAX would wait for the others, and then crash
                atexit.register(_leave, 130 if isinstance(error, KeyboardInterrupt) else 2)
            if isinstance(error, Exception) and (text := _lost(error)):
                raise UserError(
                    f"process {self.index} of {self.count} lost another one, which has ended or does not answer; its "
                    f"own output says why ({text}). Go on with resume=RUN."
                ) from error
            raise
        if self.address:
            jax.distributed.shutdown()

    def _meet(self, jax):
        # as `keras.distribution.initialize`, which has no times; the seed of all is the recipe's
        times = {"heartbeat_timeout_seconds": SILENT_SECONDS, "shutdown_timeout_seconds": SILENT_SECONDS}
        times["initialization_timeout"] = MEET_SECONDS
        try:
            if self.first:
                _check_free(os.environ.get("JAX_COORDINATOR_BIND_ADDRESS") or "[::]:" + self.address.rpartition(":")[2])
            else:
                _wait_for(self.address)
            jax.distributed.initialize(self.address, self.count, self.index, **times)
        except (OSError, RuntimeError, ValueError) as error:
            fix = "Set a free port of this machine" if self.first else "Set the address of process 0, which must run"
            reason = str(error).strip().partition("\n")[0]
            text = f"process {self.index} of {self.count} cannot meet the others at {self.address} ({reason}). {fix}."
            raise UserError(text, ADDRESS) from None  # JAX's error may read as if one that was there were lost

    def gather(self, tree):
        """Arrays of all processes: of each array in a structure, the same on all, one with a further first axis."""
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(tree)

    def any(self, flag: bool) -> bool:
        """Whether a flag is set in any process."""
        import numpy as np

        return bool(self.gather(np.array(flag)).any()) if self.count > 1 else flag

    def collect(self, value) -> list:
        """The JSON-ready values of all processes, in their order."""
        if self.count == 1:
            return [value]
        import numpy as np

        text = json.dumps(value).encode()
        lengths = self.gather(np.array(len(text), np.int32))
        padded = np.zeros(1 << int(lengths.max()).bit_length(), np.uint8)  # few sizes, of which each is compiled
        padded[: len(text)] = np.frombuffer(text, np.uint8)
        return [json.loads(bytes(row[:n])) for row, n in zip(self.gather(padded), lengths.tolist(), strict=True)]

    def of_first(self, value):
        """The JSON-ready value of the first process; those of the others do not count."""
        return self.collect(value if self.first else None)[0]

    def check_same(self, facts: dict[str, str]):
        """Raise unless all processes state the same.

        Raises:
            UserError: names the process and the fact that differs.
        """
        with _without_output():  # Gloo prints that it has connected
            first, *others = self.collect(facts)
        for index, other in enumerate(others, start=1):
            for what, text in other.items():
                if text != first[what]:
                    raise UserError(
                        f"expected the same {what} in all processes; process 0 has {first[what]}, process {index} has "
                        f"{text}. Start all of them with the same words, versions and files.",
                        "processes",
                    )


ALONE = Processes()


def _prepare(jax):
    """Set how processes exchange arrays on a CPU, before JAX starts it."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # of two programs that run at once, as JAX's may, Gloo would mix up what they exchange
    jax.config.update("jax_cpu_enable_async_dispatch", False)


@contextlib.contextmanager
def _without_output():
    """Drop what C++ writes to descriptor 1 in this block."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def _check_free(address):
    """Raise if HOST:PORT is in use, or not allowed: JAX may end this process by a crash. Of the rest JAX decides."""
    host, _, port = address.rpartition(":")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), int(port)))
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise


def _wait_for(address):
    """Wait until somebody listens at HOST:PORT: JAX would end this process by a crash, and sees no signal."""
    host, _, port = address.rpartition(":")
    until = time.monotonic() + MEET_SECONDS
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=MEET_SECONDS):
                return
        except OSError:
            if time.monotonic() > until:
                raise
        time.sleep(0.2)


def _lost(error: BaseException | None) -> str:
    """The line of JAX that says that a process is no longer there, of an error or of what it came from, or ""."""
    while error is not None:
        if _of_jax(error) and _LOST.search(str(error)):
            return str(error).strip().splitlines()[0]
        error = error.__cause__ or error.__context__  # Keras fails once more as it cleans up
    return ""


def _of_jax(error) -> bool:
    """Whether JAX raised an error: what others say may hold any word, such as a file's name."""
    import jax

    # in a compiled step it raises ValueError, which begins with the name of a status
    status = type(error) is ValueError and re.match(r"[A-Z_]+: ", str(error))
    return isinstance(error, jax.errors.JaxRuntimeError) or bool(status)


def _leave(code: int):
    """End this process now: with its workers, without waiting for those that are lost."""
    for worker in multiprocessing.active_children():
        worker.terminate()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def joined() -> Processes:
    """The processes that a launcher has started, of which this is one; one alone without a launcher.

    A launcher says so by the environment variables JAX_COORDINATOR_ADDRESS (HOST:PORT of process 0), JAX_NUM_PROCESSES
    and JAX_PROCESS_ID, or has called `jax.distributed.initialize`.

    Raises:
        UserError: one of the variables is missing or wrong, or the backend is not JAX.
    """
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        _prepare(jax)
        found = Processes(jax.process_index(), jax.process_count())
    else:
        given = {name: os.environ.get(name, "") for name in (ADDRESS, COUNT, INDEX)}
        if not any(given.values()) or given[COUNT] == "1":
            return ALONE
        for name, text in given.items():
            if not text:
                raise UserError(f"expected it beside {', '.join(key for key in given if given[key])}; not set.", name)
        count = _number(COUNT, given[COUNT], range(1, 1 << 20))
        host, _, port = given[ADDRESS].rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 1 << 16):
            raise UserError(
                f"expected HOST:PORT of process 0, such as 10.0.0.1:12345; got {given[ADDRESS]!r}.", ADDRESS
            )
        found = Processes(_number(INDEX, given[INDEX], range(count)), count, given[ADDRESS])
    if found.count > 1:
        check_backend(found.count)
    return found


def _number(name, text, among) -> int:
    if not text.isdecimal() or int(text) not in among:
        raise UserError(f"expected a number from {among[0]} to {among[-1]}, got {text!r}.", name)
    return int(text)


def check_backend(count: int):
    """Raise unless Keras will start JAX.

    Raises:
        UserError: it starts another backend; says what to do.
    """
    name = keras_backend.chosen()
    if name != "jax":
        raise UserError(
            f"{count} need the JAX backend, Keras's is {name}. Set KERAS_BACKEND=jax in the environment (pip install "
            '"visiontasks[jax]"). On one machine TensorFlow trains on all GPUs with devices=all in one process.',
            "processes",
        )
