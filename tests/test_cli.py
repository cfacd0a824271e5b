"""What the commands share: signals, one line for an error, the start of Keras, no side effects at import."""

import errno
import os
import signal
import subprocess
import sys
import warnings

import pytest

from visiontasks import cli

LOG = b"E0000 00:00:1795638952.856381   11445 cuda_platform.cc:52] failed call to cuInit\n"


def test_a_gpu_that_was_asked_for_and_is_not_there_shows_the_log_that_says_why():
    code = (
        "import os, sys\n"
        "from visiontasks import cli\n"
        "from visiontasks.training import devices\n"
        f"devices.gpu_capability = lambda: os.write(2, {LOG!r}) and None\n"
        "cli.start_keras(sys.argv[1])\n"
    )
    for asked, shown in (("auto", False), ("gpu", True)):
        done = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, timeout=120)
        assert (done.returncode == 0) is not shown and ("failed call to cuInit" in done.stderr) is shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_any_command_with_130(number):
    before = signal.getsignal(number)

    def command(arguments):
        signal.raise_signal(number)
        pytest.fail("went on")

    with pytest.raises(SystemExit) as ended:
        cli.run(command, ["x=1"], lambda: "")
    assert ended.value.code == 130 and signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda arguments: signal.raise_signal(signal.SIGHUP), ["x=1"], lambda: "")
        assert ended.value.code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_importing_the_commands_changes_nothing_in_the_process():
    code = (
        "import os, sys, logging\n"
        "before = dict(os.environ), list(sys.modules['warnings'].filters)\n"
        "import visiontasks.cli, visiontasks.train, visiontasks.evaluate, visiontasks.predict, visiontasks.__main__\n"
        "import visiontasks.backbones.__main__\n"
        "assert before == (dict(os.environ), list(sys.modules['warnings'].filters)), 'changed'\n"
        "assert not {'absl', 'keras', 'tensorflow'} & set(sys.modules), 'imported'\n"
    )
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "ONEDNN", "NO_ALBUM"))}
    done = subprocess.run([sys.executable, "-c", code], env=keep, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_settings_stand_when_a_command_runs_and_a_user_s_own_are_kept(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.delenv("NO_ALBUMENTATIONS_UPDATE", raising=False)
    environment = {}
    with pytest.raises(SystemExit):
        cli.run(lambda arguments: environment.update(os.environ), ["x=1"], lambda: "")
    assert environment["TF_CPP_MIN_LOG_LEVEL"] == "0" and environment["NO_ALBUMENTATIONS_UPDATE"] == "1"


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError("Unable to allocate 36 GiB"), "out of memory (Unable to allocate 36 GiB). Set a smaller batch"),
        (MemoryError(), "out of memory (MemoryError)"),
        (
            ResourceExhaustedError("Graph error:\n\nOOM when allocating tensor"),
            "(OOM when allocating tensor)",
        ),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), "out of memory (RESOURCE"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device. Free the disk, or give another"),
        (OSError(errno.EROFS, "Read-only file system", "a.png"), "read or write a.png: Read-only file system. Free"),
        (PermissionError(errno.EACCES, "Permission denied", "a.csv"), "read or write a.csv: Permission denied."),
        (OSError(errno.ENODEV, "No such device", "a.png"), "read or write a.png: No such device. Free"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "found in ['/tmp']. Free the disk"),
        (OSError(errno.EMFILE, "Too many open files", "a.png"), "Too many open files. Raise the limit of open files"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "aaa"), "aaa: expected a path that the file system takes"),
    ],
)
def test_items_72_and_91_memory_and_disk_are_one_line(error, says, capsys):
    def command(arguments):
        raise error

    with pytest.raises(SystemExit) as ended:
        cli.run(command, ["x=1"], lambda: "")
    printed = capsys.readouterr().err
    assert ended.value.code == 2 and printed.startswith("error: ") and says in printed and "Traceback" not in printed


def test_a_warning_is_one_line_for_users(capsys):
    def command(arguments):
        print(warnings.formatwarning("a damaged file", UserWarning, "run.py", 7), end="")
        print(warnings.formatwarning("an old name", DeprecationWarning, "run.py", 7), end="")

    before = warnings.formatwarning
    with pytest.raises(SystemExit):
        cli.run(command, ["x=1"], lambda: "")
    assert capsys.readouterr().out == "warning: a damaged file\nrun.py:7: DeprecationWarning: an old name\n"
    assert warnings.formatwarning is before


@pytest.mark.parametrize("error", [ValueError("a mistake"), FileNotFoundError(errno.ENOENT, "No such file", "a")])
def test_a_mistake_of_the_program_keeps_its_traceback(error):
    def command(arguments):
        raise error

    with pytest.raises(type(error)):
        cli.run(command, ["x=1"], lambda: "")
