"""The standard streams: open, in an encoding that takes everything, without C++'s log, and no fault when closed."""

import contextlib
import os
import re
import sys
import tempfile

# log lines of TensorFlow's and XLA's C++ (information, warnings, errors), with or without date
_LOG_LINE = re.compile(
    rb"(?:[IWE]\d{4} \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: [IWE] |WARNING: All log messages before absl::)"
)


def prepare():
    """Open closed standard descriptors on /dev/null, and replace characters that the encoding lacks."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the next opened file would get this number, and C++ would log into it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


def finish():
    """Flush now, so that a closed terminal or pipe cannot change the exit code."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)


@contextlib.contextmanager
def quiet():
    """Keep the log lines that C++ writes to descriptor 2 in this block off the screen; all other lines pass.

    After an exception, and where no temporary file can be made, every line is shown. (A crash of the process itself
    takes the lines with it.)
    """
    try:
        captured = tempfile.TemporaryFile()  # noqa: SIM115 (closed below)
    except OSError:  # a full or read-only disk
        yield
        return
    with captured:
        kept = os.dup(2)
        _flush_errors()
        os.dup2(captured.fileno(), 2)
        failed = False
        try:
            yield
        except Exception:
            failed = True
            raise
        finally:
            _flush_errors()
            os.dup2(kept, 2)
            os.close(kept)
            captured.seek(0)
            for line in captured:
                if failed or not _LOG_LINE.match(line):
                    with contextlib.suppress(OSError):
                        os.write(2, line)


def _flush_errors():
    if sys.stderr is not None:
        sys.stderr.flush()


class _Output:
    """Standard output for a command that continues after its terminal or pipe has closed."""

    def __getattr__(self, name):
        return getattr(sys.stdout, name)

    def write(self, text):
        with contextlib.suppress(OSError):
            sys.stdout.write(text)

    def flush(self):
        with contextlib.suppress(OSError):
            sys.stdout.flush()


def console(shown: bool = True):
    """A rich Console that prints if `shown`; without markup and emoji: file names have brackets and colons."""
    from rich.console import Console

    file = None if sys.stdout is None else _Output()
    return Console(quiet=not shown, file=file, soft_wrap=True, markup=False, emoji=False, highlight=False)
