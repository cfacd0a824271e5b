"""Several processes train as one: the same steps, the same metrics, one that writes; and none waits for a dead one."""

import csv
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.signals import Stopped
from visiontasks.training import launching, processes
from visiontasks.training.generations import Generations
from visiontasks.training.processes import Processes
from visiontasks.training.together import JointInterrupt, JointStop

needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
MEETING = {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}


@pytest.fixture
def environment(monkeypatch):
    """Sets these variables of a launcher, and the backend."""

    def set_to(backend="jax", **changes):
        monkeypatch.setitem(sys.modules, "jax", None)
        monkeypatch.setenv("KERAS_BACKEND", backend)
        for name, value in {**MEETING, **changes}.items():
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)

    return set_to


def test_a_launcher_s_variables_say_which_process_this_is(environment):
    environment()
    assert processes.joined() == Processes(3, 4, "10.0.0.1:1234") and not processes.joined().first
    environment(JAX_NUM_PROCESSES="1", JAX_PROCESS_ID="0")
    assert processes.joined() == processes.ALONE
    environment(**dict.fromkeys(MEETING))
    assert processes.joined() == processes.ALONE


@pytest.mark.parametrize(
    ("backend", "changes", "says"),
    [
        ("jax", {"JAX_PROCESS_ID": None}, "^JAX_PROCESS_ID: expected it beside JAX_COORDINATOR_ADDRESS, JAX_NUM_PROC"),
        ("jax", {"JAX_PROCESS_ID": "4"}, "^JAX_PROCESS_ID: expected a number from 0 to 3, got '4'"),
        (
            "jax",
            {"JAX_COORDINATOR_ADDRESS": "nonsense"},
            "^JAX_COORDINATOR_ADDRESS: expected HOST:PORT .*got 'nonsense'",
        ),
        ("jax", {"JAX_COORDINATOR_ADDRESS": ":1234"}, "^JAX_COORDINATOR_ADDRESS: expected HOST:PORT .*got ':1234'"),
        ("jax", {"JAX_COORDINATOR_ADDRESS": "host:99999"}, "^JAX_COORDINATOR_ADDRESS: expected HOST:PORT "),
        ("jax", {"JAX_NUM_PROCESSES": "two"}, "^JAX_NUM_PROCESSES: expected a number from 1 to "),
        (
            "tensorflow",
            {},
            r"^processes: 4 need the JAX backend, Keras's is tensorflow\. Set KERAS_BACKEND=jax .*devices",
        ),
        ("torch", {}, "^processes: 4 need the JAX backend, Keras's is torch"),
    ],
)
def test_what_a_launcher_says_wrongly_is_an_error(backend, changes, says, environment):
    environment(backend, **changes)
    with pytest.raises(UserError, match=says):
        processes.joined()


def test_a_signal_to_one_process_stops_all_after_the_same_step(monkeypatch):
    class Model:
        stop_training = False

    class Loss:
        """Of a step that runs until somebody reads it."""

        def __float__(self):
            running.discard(self)
            return 1.0

    def agree(self, flag):
        assert not running  # what two programs exchange at once would be mixed up
        return any(one.stop._here.asked for one in pair)

    pair, running = [JointInterrupt(Processes(index, 2)) for index in (0, 1)], set()
    monkeypatch.setattr(Processes, "any", agree)
    monkeypatch.setattr(Processes, "collect", lambda self, value: [one.stop._here.asked for one in pair])
    for one in pair:
        one.set_model(Model())
    with pair[1].handling():
        signal.raise_signal(signal.SIGTERM)
    assert pair[1].stop._here.asked
    assert not pair[1].asked and not pair[1].model.stop_training  # it waits for the other one
    for one in pair:
        running.add(loss := Loss())
        one.on_train_batch_end(0, {"loss": loss})
    assert all(one.asked and one.stop.asked == "SIGTERM" and one.model.stop_training for one in pair)


def test_a_signal_to_one_process_ends_the_final_evaluation_of_all(monkeypatch):
    pair = [JointStop(Processes(index, 2)) for index in (0, 1)]
    monkeypatch.setattr(Processes, "any", lambda self, flag: any(one._here.asked for one in pair))
    monkeypatch.setattr(Processes, "collect", lambda self, value: [one._here.asked for one in pair])
    for one in pair:
        one.check_all()
    with pair[1].handling():
        signal.raise_signal(signal.SIGTERM)
    for one in pair:
        one.check()  # it waits for the other one
    for one in pair:
        with pytest.raises(Stopped, match="SIGTERM"), one.after_steps():
            one.check_all()


def test_a_process_that_has_done_its_last_turn_stops_by_itself():
    stop = JointStop(Processes(0, 2))
    with pytest.raises(Stopped, match="SIGTERM"), stop.after_steps():
        signal.raise_signal(signal.SIGTERM)
        stop.check()
        stop.part()


@needs_jax
@pytest.mark.parametrize("index", [0, 1])
def test_processes_that_do_not_meet_are_an_error_that_names_the_address(index, monkeypatch):
    """In processes of their own: what JAX has begun to meet, it does not begin again."""
    code = """
import os, sys
from visiontasks import cli
from visiontasks.training import processes
processes.MEET_SECONDS = 1
def meet(arguments):
    with processes.joined().together():
        return 0
cli.run(meet, ["x"], lambda: "")
"""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if index == 0:
            taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        meeting = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(index)}
        meeting |= {"JAX_COORDINATOR_BIND_ADDRESS": address, "KERAS_BACKEND": "jax"}
        path = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | meeting | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert f"error: JAX_COORDINATOR_ADDRESS: process {index} of 2 cannot meet the others at {address}" in done.stderr


@needs_jax
@pytest.mark.parametrize("by", ["itself", "a recipe's error", "an error of cleaning up"])
def test_what_a_lost_process_leads_to_is_one_error(by):
    with (
        pytest.raises(
            UserError, match=r"^process 0 of 2 lost another one, .* \(.*UNKNOWN: Gloo all-reduce failed: x\)\. Go on"
        ),
        Processes(0, 2).together(),
    ):  # which has met already
        try:
            raise ValueError("UNKNOWN: Gloo all-reduce failed: x")
        except ValueError as error:
            if by == "itself":
                raise
            if by == "a recipe's error":
                raise UserError(f"rejects its arguments: {error}", "optimizer") from error
            raise TypeError("None is not callable")  # noqa: B904 (as in a `finally`)


@needs_jax
@pytest.mark.parametrize("text", ["/data/heartbeat.png: cannot be read", "nccl.csv: no table", "gloo 1 failed"])
def test_an_error_that_only_reads_as_if_a_process_were_lost_is_left_as_it_is(text):
    with pytest.raises(UserError) as raised, Processes(0, 2).together():
        try:
            raise OSError(text)
        except OSError as error:
            raise UserError(text, "data") from error
    assert str(raised.value) == f"data: {text}"


@needs_jax
def test_jax_s_own_error_says_that_a_process_is_lost():
    import jax

    with pytest.raises(UserError, match=r"^process 1 of 2 lost another one"), Processes(1, 2).together():
        raise jax.errors.JaxRuntimeError("UNAVAILABLE: The tasks have crashed. (coordination service)")


def python(code):
    return [sys.executable, "-c", f"import os, signal, sys, time\nindex = int(os.environ['JAX_PROCESS_ID'])\n{code}"]


def test_a_killed_process_is_named_and_ends_the_others(monkeypatch, capfd):
    monkeypatch.setattr(launching, "PATIENCE", 0.5)
    code = "print(f'out {index}', flush=True)\nprint('both', file=sys.stderr)\nprint(f'err {index}', file=sys.stderr)\n"
    code += "sys.stderr.flush()\ntime.sleep(0.5)\nindex == 1 and os.kill(os.getpid(), signal.SIGKILL)\n"
    code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    with pytest.raises(UserError, match="^processes: process 1 of 2 was ended by SIGKILL, .*resume=RUN"):
        launching.launch(2, python(code))
    printed = capfd.readouterr()
    assert printed.out == "out 0\n" and printed.err == "both\nerr 0\nprocess 1: err 1\n"


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_process_is_that_of_all(failing, monkeypatch, capfd):
    monkeypatch.setattr(launching, "PATIENCE", 0.2)
    code = f"if index == {failing}:\n    print('error: full', file=sys.stderr); sys.exit(2)\ntime.sleep(600)"
    assert launching.launch(2, python(code)) == 2
    assert capfd.readouterr().err == ("process 1: " * failing) + "error: full\n"


def test_all_get_a_signal_and_the_code_is_that_of_a_stop():
    timer = threading.Timer(2, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    code = "def stop(*_): sys.exit(130 * (index == 0))\nsignal.signal(signal.SIGTERM, stop)\ntime.sleep(600)"
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        assert launching.launch(2, python(code)) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
        timer.join()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX's signals")
@pytest.mark.parametrize("at", ["the first one's start", "the last one's start"])
def test_a_signal_while_processes_start_is_a_stop(at, monkeypatch):
    class Started(launching._Started):
        def __init__(self, command, index, environment):
            super().__init__(command, index, environment)
            if index == (at == "the last one's start"):
                signal.raise_signal(signal.SIGTERM)  # before it is in the group, and before it handles signals

    monkeypatch.setattr(launching, "_Started", Started)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        assert launching.launch(2, ["sleep", "600"]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("codes", "says"), [((2, 130), 1), ((130, 2), 0), ((-9, 130), 0), ((2, -9), 1), ((0, 2), 1)])
def test_a_process_that_was_killed_or_stopped_says_more_than_one_that_lost_it(codes, says):
    class Ended:
        def __init__(self, code):
            self.process, self.returncode = self, code

        def poll(self):
            return self.returncode

    group = [Ended(code) for code in codes]
    assert launching._failed(group, []) is group[says]


def ended(number):
    """Whether a process has ended, though nobody may have asked for its exit code."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux's")
def test_processes_end_with_the_one_that_started_them(tmp_path):
    code = (
        "from visiontasks.training import launching\n"
        "launching.end_with_parent()\n"
        f"open(os.path.join({str(tmp_path)!r}, str(index)), 'w').write(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    starts = f"from visiontasks.training import launching\nlaunching.launch(2, {python(code)!r})"
    parent = subprocess.Popen(
        [sys.executable, "-c", starts], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    while len(list(tmp_path.iterdir())) < 2 or not all(path.read_text() for path in tmp_path.iterdir()):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    for path in tmp_path.iterdir():
        number = int(path.read_text())
        for _ in range(600):
            if ended(number):
                break
            time.sleep(0.1)
        else:
            os.kill(number, signal.SIGKILL)
            pytest.fail("it outlived its parent")


RECIPE = """
backbone: {name: unet_encoder, filters: 4, depth: 2}
head: {name: classifier, dropout: 0.5}
data:
  train: {source: shapes, count: 24, size: [32, 32]}
  val: {source: shapes, count: 11, size: [32, 32], seed: 1}
  size: [32, 32]
  batch: 4
  workers: 1
  augment: [{HorizontalFlip: {p: 0.5}}]
train: {epochs: 2, ema: 0.9, save_minutes: 0}
"""
# TensorFlow, which would write events, takes longer to import than all the rest
COMMAND = """
import os, signal, sys
sys.modules.update(dict.fromkeys(("tensorflow", "tensorboard")))
from visiontasks import train
from visiontasks.training.position import Position
at = os.environ.get("KILL")
if at and at.split()[0] == os.environ.get("JAX_PROCESS_ID"):
    step = Position.on_train_batch_end
    def killed(self, *words, **named):
        step(self, *words, **named)
        if [self.epoch, self.step] == [int(number) for number in at.split()[1:]]:
            os.kill(os.getpid(), signal.SIGKILL)
    Position.on_train_batch_end = killed
train.main(sys.argv[1:])
"""


def state(run):
    values, arrays = Generations(run / "state").read()
    paths = [path for path, *_ in values["variables"]][: len(arrays)]
    return values["memories"], {f"{i} {path}": arrays[i] for i, path in enumerate(paths)}


def rows(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@needs_jax
def test_two_processes_train_as_one_and_go_on_after_a_kill(tmp_path, monkeypatch):
    """Each start compiles, so the cases share their runs."""
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    kept = {"KERAS_BACKEND": "jax", "KERAS_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    kept |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", COMMAND]

    def started(folder, count=1):
        words = [*command, "recipe=tiny.yaml", f"run.dir={folder}"]
        code = launching.launch(count, words) if count > 1 else subprocess.run(words).returncode
        (run,) = (tmp_path / folder / "tiny").iterdir()
        return code, run

    code, one = started("one")
    assert code == 0
    code, two = started("two", 2)
    assert code == 0
    (_, alone), (_, together) = state(one), state(two)
    assert alone.keys() == together.keys() and len(alone) > 10
    for name, array in alone.items():
        np.testing.assert_allclose(together[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    for mine, yours in zip(rows(one), rows(two), strict=True):
        assert mine == pytest.approx(yours, rel=1e-6, nan_ok=True)
    assert len(rows(two)) == 2 and {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}

    monkeypatch.setenv("KILL", "1 1 2")
    with pytest.raises(UserError, match="process 1 of 2 was ended by SIGKILL"):
        started("killed", 2)
    monkeypatch.delenv("KILL")
    (killed,) = (tmp_path / "killed" / "tiny").iterdir()
    assert len(rows(killed)) == 1
    assert launching.launch(2, [*command, f"resume={killed}"]) == 0
    (memories, expected), (found, arrays) = state(two), state(killed)
    assert all(np.array_equal(array, expected[name]) for name, array in arrays.items())
    assert rows(killed) == rows(two) and found["checkpoints"] == memories["checkpoints"]
    assert (killed / "evaluation.json").read_bytes() == (two / "evaluation.json").read_bytes()
