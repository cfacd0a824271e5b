"""What `train` says of lacking memory and of a way on after NaN; what a kill while it loads weights leaves."""

import os
import shutil
import types
from pathlib import Path

import checkpoints
import fakes
import pytest

from visiontasks import train
from visiontasks.errors import UserError
from visiontasks.heads.unet import UNet
from visiontasks.model import VisionModel
from visiontasks.training import devices
from visiontasks.training.run_directory import RunDirectory
from visiontasks.writing import is_unfinished, remove_unfinished, unfinished

GIB = 2**30


@pytest.fixture(scope="module")
def model():
    return VisionModel(fakes.backbone((32, 32)), UNet(3))


def advised(model, room, monkeypatch, error=None):
    """The lines of a training of 64 images a step with so much free memory."""
    lines = []
    monkeypatch.setattr(devices, "free_memory", lambda: room)
    with train._memory_advice(model, 64, types.SimpleNamespace(line=lines.append), False):
        if error is not None:
            raise error
    return lines


def test_item_72_a_step_that_does_not_fit_is_said_before_training(model, monkeypatch):
    assert advised(model, GIB, monkeypatch) == [] and advised(model, None, monkeypatch) == []
    (line,) = advised(model, 2**26, monkeypatch)
    assert "a step of 64 images takes about" in line and "64 MiB are free" in line
    assert "the system may end this process. Set data.batch=" in line and "fits by the estimate" in line


@pytest.mark.parametrize(
    ("room", "advice"), [(GIB, "data.batch=32, which fits"), (None, "data.batch=32, or"), (9, "network")]
)
def test_item_72_out_of_memory_is_an_error_with_the_batch_that_fits(model, room, advice, monkeypatch):
    with pytest.raises(UserError, match=rf"out of memory \(alloc 9\): a step of 64 images takes .*Set .*{advice}"):
        advised(model, room, monkeypatch, MemoryError("alloc 9"))


def test_the_memory_of_several_devices_is_not_compared(model, monkeypatch):
    monkeypatch.setattr(devices, "free_memory", lambda: 9)
    lines = []
    with (
        pytest.raises(UserError, match="Set a smaller data.batch, or"),
        train._memory_advice(model, 64, types.SimpleNamespace(line=lines.append), True),
    ):
        raise MemoryError("alloc 9")
    assert lines == []


def test_other_errors_stay_what_they_are(model, monkeypatch):
    with pytest.raises(ZeroDivisionError):
        advised(model, GIB, monkeypatch, ZeroDivisionError())


def test_weights_that_a_kill_leaves_unpacked_are_removed_by_the_next_resume(tmp_path):
    folder = tmp_path / "checkpoints"

    class Killed:
        def load_weights(self, path):
            unpacked = Path(path).parent
            assert Path(path).is_file() and is_unfinished(unpacked) and unpacked.parent == folder
            shutil.copytree(unpacked, folder / unpacked.name.replace(f"-{os.getpid()}-", "-2147483647-"))

    folder.mkdir()
    best = checkpoints.write(folder / "best.keras")
    train._load_weights(Killed(), best)
    assert len(unfinished(tmp_path)) == 1  # its own is gone
    remove_unfinished(tmp_path)
    assert [*folder.iterdir()] == [best]
    train._load_weights(types.SimpleNamespace(load_weights=lambda path: None), best, writes=False)
    assert [*folder.iterdir()] == [best]


def test_what_else_may_help_after_nan_is_what_can(tmp_path):
    run = RunDirectory.create(tmp_path, "x")
    assert train._ways_on(run, "stop") == train._ways_on(run, "rollback") == []
    run.states.write({}, [])
    (line,) = train._ways_on(run, "stop")
    assert f"resume={run.path} train.on_nan=rollback" in line
    assert train._ways_on(run, "rollback") == []  # nothing is trained to begin with
    run.last.touch()
    (line,) = train._ways_on(run, "rollback")
    assert f"init={run.path} train.optimizer.learning_rate=" in line and "resume" not in line
