"""The standard streams: what C++ logs, closed and narrow ones, a pipe that reads no more."""

import os
import subprocess
import sys

import pytest

NOISE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795638949.302157   11445 port.cc:153] oneDNN custom operations are on.\n"
    "E0000 00:00:1795638952.856381   11445 cuda_platform.cc:52] failed call to cuInit\n"
    "2026-11-25 20:35:46.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This binary is optimized\n"
)


def python(code, *, shell=None, **kwargs):
    command = [sys.executable, "-c", code] if shell is None else ["sh", "-c", shell, sys.executable, code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "errors": "replace"}
    return subprocess.run(command, **pipes, timeout=120, **kwargs)


def start(ends):
    return (
        "import os, sys, warnings\n"
        "from visiontasks import standard_streams\n"
        "with standard_streams.quiet():\n"
        f"    os.write(2, {NOISE.encode()!r})\n"
        "    warnings.warn('your own warning')\n"
        f"    {ends}\n"
        "os.write(2, b'I0000 00:00:17 1 later.cc:1] later\\n')\n"
    )


def test_a_start_keeps_the_log_of_c_plus_plus_off_the_screen_and_nothing_else():
    done = python(start("pass"))
    assert done.returncode == 0 and "your own warning" in done.stderr and "later.cc" in done.stderr
    assert not any(line in done.stderr for line in NOISE.splitlines())


def test_a_start_without_room_for_the_log_shows_it():
    code = "import tempfile\ndef full(): raise FileNotFoundError(2, 'No usable temporary directory found')\n"
    done = python(code + "tempfile.TemporaryFile = full\n" + start("print('went on')"))
    assert done.returncode == 0 and "went on" in done.stdout and all(line in done.stderr for line in NOISE.splitlines())


def test_a_start_that_fails_shows_all_it_logged():
    done = python(start("raise ImportError('libcudart is missing')"))
    assert done.returncode == 1 and "libcudart is missing" in done.stderr
    assert all(line in done.stderr for line in NOISE.splitlines())


COMMAND = (
    "import os, sys\n"
    "from visiontasks import cli, standard_streams\n"
    "def command(arguments):\n"
    "    with standard_streams.quiet():\n"
    f"        os.write(2, {NOISE.encode()!r})\n"
    "    with open('result', 'w') as file:\n"
    "        os.write(2, b'a line of a C++ library')\n"
    "        file.write('the result')\n"
    "    standard_streams.console().print('done: ×, …, 赤血球, ok')\n"
    "cli.run(command, ['x=1'], lambda: 'usage')\n"
)


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_neither_fail_nor_write_into_files(closed, tmp_path):
    done = python(COMMAND, shell=f'"$0" -c "$1" {closed}', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "result").read_text() == "the result"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_characters_that_a_console_lacks_are_replaced(encoding, tmp_path):
    done = python(COMMAND, env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}, cwd=tmp_path)
    assert done.returncode == 0 and "done: " in done.stdout and ", ???, ok" in done.stdout


def test_a_pipe_that_reads_no_more_ends_without_a_traceback(tmp_path):
    done = python(
        COMMAND.replace("['x=1'], lambda: 'usage'", "['--help'], lambda: 'word ' * 10**6"),
        shell='"$0" -c "$1" | head -c 5; exit 0',
        cwd=tmp_path,
    )
    assert done.stdout == "word " and done.stderr == ""
