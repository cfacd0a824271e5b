"""Files of a state: whole or not there, checked to the byte, the one before as a way back."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.training.generations import Generations, read

ARRAYS = [np.arange(6, dtype="float32").reshape(2, 3), np.array(7, "int64"), np.zeros((0, 4)), np.array([True, False])]
VALUES = {"score": -float("inf"), "names": ["Zebra", "größer"], "none": None}


@pytest.fixture
def states(tmp_path):
    return Generations(tmp_path / "state")


def test_gives_back_what_was_written(states):
    states.write(VALUES, ARRAYS)
    values, arrays = states.read()
    assert values == VALUES
    for expected, found in zip(ARRAYS, arrays, strict=True):
        assert found.dtype == expected.dtype and found.shape == expected.shape and np.array_equal(found, expected)


def test_the_newest_two_stay_and_count_up(states):
    for n in range(12):
        states.write({"n": n}, [])
    assert [path.name for path in states.files] == ["12.state", "11.state"] and states.read()[0] == {"n": 11}
    states.prune(1)
    assert [path.name for path in states.files] == ["12.state"]


def test_every_flipped_bit_and_every_cut_is_found(states):
    path = states.write(VALUES, ARRAYS)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        with pytest.raises(ValueError, match="damaged"):
            read(path)
        path.write_bytes(content[:place])
        with pytest.raises(ValueError, match="damaged"):
            read(path)
    path.write_bytes(content)
    read(path)


def test_a_damaged_newest_falls_back_with_a_warning(states):
    states.write({"n": 1}, ARRAYS)
    path = states.write({"n": 2}, ARRAYS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"2\.state is damaged.*1\.state is used instead"):
        assert states.read()[0] == {"n": 1}
    states.files[1].write_bytes(b"")
    with (
        warnings.catch_warnings(),
        pytest.raises(UserError, match="resume: no saved state can be read.*1.state"),
    ):
        warnings.simplefilter("ignore")
        states.read()


def test_a_state_with_nan_is_never_used(states):
    states.write({"n": 1}, ARRAYS)
    states.write({"n": 2}, [*ARRAYS, np.float32([1, np.inf])])
    with pytest.warns(UserWarning, match=r"2\.state holds NaN or infinity.*1\.state is used instead"):
        assert states.read()[0] == {"n": 1}


def test_nothing_is_saved_yet_and_what_is_no_state_does_not_count(states):
    assert states.read() is None and states.files == []
    states.folder.mkdir()
    (states.folder / "1 (copy).state").touch()
    states.write({"n": 1}, [])
    assert [path.name for path in states.files] == ["1.state"]


def test_another_format_is_not_called_damaged(states):
    content = b"visiontasks state 9\n{}"
    path = states.write({}, [])
    path.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(ValueError, match="of another version's format"):
        read(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_an_error_of_the_disk_at_any_call_leaves_the_state_before(states, call, number, monkeypatch):
    states.write({"n": 1}, ARRAYS)

    def fail(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open" if call == "open" else f"os.{call}", fail)
        with pytest.raises(UserError, match=f"^dir: cannot write .*2.state: {os.strerror(number)}"):
            states.write({"n": 2}, ARRAYS)
    assert states.read()[0] == {"n": 1} and [path.name for path in states.folder.iterdir()] == ["1.state"]
    states.write({"n": 3}, ARRAYS)
    assert states.read()[0] == {"n": 3}


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from visiontasks.training.generations import Generations

calls = 0

def counted(call):
    def made(*words, **named):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*words, **named)
    return made

for name in ("open", "close", "fsync", "replace", "unlink", "mkdir"):
    setattr(os, name, counted(getattr(os, name)))
Generations(Path(sys.argv[1])).write({"n": 3}, [np.arange(200_000.0)])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_kill_at_any_call_leaves_a_state(states):
    """Of the two before and the new one always the newest that is whole; scripts/chaos.py does it with every write."""
    states.write({"n": 1}, ARRAYS)
    number = 0
    while True:
        number += 1
        states.write({"n": 2}, ARRAYS)
        before = states.files[0]
        done = subprocess.run([sys.executable, "-c", KILLED, str(states.folder), str(number)], timeout=600)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        newest = states.read()[0]["n"]
        assert newest == (2 if states.files[0] == before else 3)
    assert number > 5 and states.read()[0] == {"n": 3} and len(states.files) == 2
