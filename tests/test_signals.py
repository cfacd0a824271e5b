"""Signals and the stop file: the running step ends first, a second signal is at once, and none is lost."""

import contextlib
import signal
import subprocess
import sys
import time

import pytest

from visiontasks import cli, signals
from visiontasks.errors import UserError


def test_a_signal_waits_for_the_end_of_a_step_and_a_second_of_its_kind_does_not():
    before, done = [signal.getsignal(number) for number in signals.STOPS], []
    with pytest.raises(signals.Stopped, match="SIGTERM"), signals.Stop().after_steps() as stop:
        for step in range(9):
            stop.check()
            if step == 2:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGHUP)  # as the end of a session sends both
            done.append(step)
    assert done == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt) as raised, signals.Stop().after_steps():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on")
    assert not isinstance(raised.value, signals.Stopped)
    assert [signal.getsignal(number) for number in signals.STOPS] == before


def test_a_signal_in_the_last_step_ends_the_block_and_an_error_stays_what_it_is():
    with pytest.raises(signals.Stopped, match="SIGINT"), signals.Stop().after_steps():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(ValueError, match="mine"), signals.Stop().after_steps():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("mine")


def test_a_stop_file_asks_as_soon_as_it_exists_and_is_looked_for_once_a_second(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stop = signals.Stop(tmp_path / "notice")
    assert not stop.poll()
    (tmp_path / "notice").touch()
    now[0] += 0.9
    assert not stop.poll()
    now[0] += 0.2
    with pytest.raises(signals.Stopped, match="the stop file .*notice"):
        stop.check()
    (tmp_path / "notice").unlink()
    assert stop.poll()


def test_a_stop_file_that_cannot_be_looked_at_is_an_error_at_the_start_and_later_no_stop(tmp_path, monkeypatch):
    stop = signals.Stop("x" * 300)
    assert not stop.poll()
    with pytest.raises(UserError, match=r"train.stop_file: cannot look for x+: .*long\. Give another path"):
        stop.begin("train.stop_file")
    monkeypatch.setenv("HOME", str(tmp_path))
    stop = signals.Stop("~/notice")
    stop.begin("train.stop_file")
    signals.Stop().begin("train.stop_file")
    (tmp_path / "notice").touch()
    with pytest.raises(signals.Stopped, match="the stop file .*notice"):
        stop.begin("train.stop_file")


class Finalized:
    """In whose finalizer the signal comes: Python can but print the exception."""

    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def caught():
    """As in an `except:` of a library."""
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


def run(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run(command, ["x=1"], lambda: "")
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("swallow", [caught, Finalized])
def test_a_signal_that_a_library_swallows_ends_the_next_step_or_the_command(swallow, capsys):
    steps = []

    def command(arguments):
        swallow()
        steps.append(1)
        if len(steps) == 2:
            with signals.Stop().after_steps() as stop:
                stop.check()
                steps.append(1)

    assert run(command, capsys) == (130, "stopped by SIGTERM\n")
    assert run(command, capsys) == (130, "stopped by SIGTERM\n")
    assert len(steps) == 2


def test_a_signal_that_a_library_turns_into_another_error_is_a_stop(capsys):
    def command(arguments):
        try:
            signal.raise_signal(signal.SIGHUP)
        except KeyboardInterrupt:
            raise RuntimeError("a callback failed") from None

    assert run(command, capsys) == (130, "stopped by SIGHUP\n")


TEXT = """
import signal
from visiontasks import cli
cli.run(lambda arguments: exec("signal.raise_signal(signal.SIGTERM)"), ["x=1"], lambda: "")
"""


def test_the_exit_code_of_a_stop_within_an_import_is_130_too(tmp_path):
    """Of code that a text is compiled to, as each dataclass is, in a command that `python -m` starts."""
    (tmp_path / "command.py").write_text(TEXT)
    words = [sys.executable, "-m", "command"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "stopped by SIGTERM\n")


BUSY = """
import contextlib, hashlib
from visiontasks import cli, signals
def command(arguments):
    while True:  # whenever the first signal comes, it ends nothing
        with contextlib.suppress(BaseException):
            print("begun", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # as a compiler: minutes without a line of Python
signals.GRACE_SECONDS = 0.1
cli.run(command, ["x=1"], lambda: "")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows ends a process in another way")
def test_a_second_signal_ends_a_process_that_is_busy_in_a_library():
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "begun\n"
        for number in (signal.SIGTERM, signal.SIGHUP):  # of two kinds: as the end of a session
            process.send_signal(number)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and printed == "stopped at once\n"
