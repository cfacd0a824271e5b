"""What `train` says of a way on after NaN, and what a kill while it loads weights leaves."""

import os
import shutil
import types
from pathlib import Path

import checkpoints
import pytest

from visiontasks import train
from visiontasks.errors import UserError
from visiontasks.training.run_directory import RunDirectory
from visiontasks.writing import is_unfinished, remove_unfinished, unfinished


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


def test_words_that_would_have_no_effect_are_errors(monkeypatch):
    with pytest.raises(UserError, match=r"^verify: it is for resume=RUN"):
        train.train(["recipe=unet_seg", "verify=data"])
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(UserError, match=r"^processes: 2 need the JAX backend"):
        train.train(["recipe=unet_seg", "processes=2", "dry_run=true"])


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
