"""Runs one command in a process forked from this one, which has imported what commands need, and says how it ended."""

import os
import resource
import select
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SECONDS = 30  # of the processor's time, of all threads; a loaded machine may take longer for it
PATIENCE = 150  # seconds in which a process that waits for something must have ended
MOST_BYTES = 2 * 2**30  # of memory that is really used (ru_maxrss)
ROOM = 3 * 2**30  # of addresses beyond those of the forking process (RLIMIT_AS): so that a bomb cannot hurt the machine
TRACEBACK = 99  # the exit code of a process whose command raised

ACCEPTED, REFUSED = "accepted", "error"
FAULTS = ("traceback", "crash", "hang", "memory")


class Outcome(NamedTuple):
    """How a process ended: `what` is ACCEPTED, REFUSED or one of FAULTS.

    Args:
        what: see above.
        text: what it printed.
        bytes: the most memory that it used.
        seconds: of the processor that it took.
    """

    what: str
    text: str
    bytes: int
    seconds: float


class Child:
    """A forked process that calls `command()` in a folder; what it prints goes to a file there.

    A process that has threads must not be forked: this one imports the libraries and does nothing else.
    """

    def __init__(self, folder: Path, command: Callable[[], None]):
        self.folder, self.begun = folder, time.monotonic()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            _be(folder, command)
        self.descriptor = os.pidfd_open(self.pid)

    def outcome(self) -> Outcome:
        """Wait until it has ended, and kill it where it takes SECONDS of the processor or PATIENCE."""
        while not (ended := bool(select.select([self.descriptor], [], [], 1)[0])):
            if self._seconds() > SECONDS or time.monotonic() - self.begun > PATIENCE:
                os.kill(self.pid, 9)
                break
        _, status, used = os.wait4(self.pid, 0)
        os.close(self.descriptor)
        code, most = os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024
        text = (self.folder / "printed").read_text("utf-8", "replace")
        what = "hang" if not ended else _what(code, text)
        return Outcome("memory" if most > MOST_BYTES else what, text, most, used.ru_utime + used.ru_stime)

    def _seconds(self) -> float:
        """The processor's time that it has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _what(code, text):
    if code == TRACEBACK or "Traceback (most recent call last)" in text:
        return "traceback"
    if code == 2 and "\nerror: " in f"\n{text}":
        return REFUSED
    # `check` has findings: 1 and 2 without an error of the command
    return ACCEPTED if code in (0, 1, 2) else "crash"


def _be(folder, command):
    """Be the child: never returns."""
    code = TRACEBACK
    try:
        os.chdir(folder)
        written = os.open("printed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(written, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM,) * 2)
        command()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
