"""Starts the processes of a training on this machine, and ends all of them when one ends too early."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from visiontasks import signals
from visiontasks.errors import UserError
from visiontasks.training.processes import ADDRESS, COUNT, INDEX

PARENT = "VISIONTASKS_PARENT"  # the process that started this one
# after one process has failed: until the others are asked to end, and from then until they are killed
PATIENCE = 20
POLL = 0.1


def launch(count: int, command: list[str]) -> int:
    """Run a command in `count` processes, which find each other by the variables of `processes.joined`.

    Signals go on to all of them. The first one prints as if it were alone; what the others say of errors comes at the
    end.

    Returns:
        The exit code: 0, or 130 after a signal, or that of the first process that failed with a message of its own.

    Raises:
        UserError: a process was killed, or crashed; names it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    here = {ADDRESS: address, COUNT: str(count), PARENT: str(os.getpid())}
    here["JAX_COORDINATOR_BIND_ADDRESS"] = address  # by default all of the machine's addresses
    group, asked = [], []

    def forward(number, frame):
        asked.append(number)
        for one in group:
            one.forward(asked)

    with signals.handled(forward):
        try:
            for index in range(count):
                of_one = {INDEX: str(index), "JAX_LOCAL_DEVICE_IDS": str(index)}  # of GPUs, if there are any
                group.append(_Started(command, index, os.environ | here | of_one))
                group[-1].forward(asked)  # what came before it was in the group
            first = _wait(group, asked)
        finally:
            for one in group:
                one.end()
    others = [f"process {one.index}: {line}" for one in group[1:] for line in one.lines if line not in group[0].lines]
    sys.stderr.write("".join(dict.fromkeys(others)))
    codes = {one.process.returncode for one in group}
    stopped = {signals.CODE, *(-number for number in asked)}  # the latter before a process handles signals
    if asked and codes & stopped and min(codes - stopped, default=0) >= 0:  # others may say that they lost those
        return signals.CODE
    if first is None:
        return signals.CODE if any(one.process.returncode for one in group) else 0
    code = first.process.returncode
    if code > 0 or code in stopped:
        return max(code, 0) or signals.CODE
    raise UserError(
        f"process {first.index} of {count} was ended by {signal.Signals(-code).name}, so training cannot go on. If its "
        "memory was not enough, set a smaller batch. Go on with resume=RUN from the last saved state.",
        "processes",
    )


class _Started:
    """A process of the group, and the lines that it writes as errors."""

    def __init__(self, command, index, environment):
        self.index, self.lines, self._forwarded = index, [], 0
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if index == 0 else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C in a terminal reaches them once, by `forward`
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if self.index == 0:
                with contextlib.suppress(OSError):
                    sys.stderr.write(line)
                    sys.stderr.flush()

    def forward(self, asked):
        """Send the process those signals that it has not got yet."""
        while self._forwarded < len(asked):
            self._forwarded += 1
            with contextlib.suppress(OSError):
                self.process.send_signal(asked[self._forwarded - 1])

    def end(self):
        """End the process, if it runs, and read its last lines."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)


def _wait(group, asked):
    """Wait until all have ended; the first one that failed, or None. After it the others do not have long."""
    first, failed = None, None
    while any(one.process.poll() is None for one in group):
        now = time.monotonic()
        if first is None:
            first = _failed(group, asked)
            failed = now
        elif now - failed > 2 * PATIENCE:
            return first
        elif now - failed > PATIENCE:
            for one in group:
                if one.process.poll() is None:
                    one.process.terminate()
        time.sleep(POLL)
    return first or _failed(group, asked)


def _failed(group, asked):
    """The process that failed; one that was killed or stopped before one that says that it lost another."""
    fine = (None, 0, signals.CODE) if asked else (None, 0)
    bad = [one for one in group if one.process.poll() not in fine]

    def rank(one):
        code = one.process.returncode
        return code > 0, code != signals.CODE, code

    return min(bad, key=rank, default=None)


def end_with_parent():
    """In a process that `launch` has started: be asked to end when its parent is no longer there."""
    parent = os.environ.get(PARENT)
    if parent is None:
        return

    def watch():
        while os.getppid() == int(parent):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
