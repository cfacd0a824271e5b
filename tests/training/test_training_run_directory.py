"""Which run and which checkpoint of it answer."""

import os
import warnings

import checkpoints
import pytest

from visiontasks.errors import UserError
from visiontasks.training import run_directory
from visiontasks.training.run_directory import RunDirectory

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def made(root, name, age, **files):
    """A run of some seconds ago; a checkpoint is whole or not."""
    run = RunDirectory(root / name)
    run.best.parent.mkdir(parents=True)
    run.recipe.write_text("")
    os.utime(run.recipe, (1e9 - age, 1e9 - age))
    for key, whole in files.items():
        path = checkpoints.write(getattr(run, key))
        if not whole:
            path.write_bytes(b"damaged")
    return run


def test_the_newest_run_that_has_a_checkpoint_answers(tmp_path):
    made(tmp_path, "old", 9, best=True)
    good = made(tmp_path, "good", 5, last=True)
    made(tmp_path, "stopped", 1)
    made(tmp_path, "broken", 0, best=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert RunDirectory.find(tmp_path).checkpoint == good.last


def test_where_the_best_is_damaged_the_last_is_used_and_said(tmp_path):
    run = made(tmp_path, "run", 0, best=False, last=True)
    with pytest.warns(UserWarning, match=r"best\.keras cannot be used: .*; last\.keras is used"):
        assert run.checkpoint == run.last


def test_without_a_whole_checkpoint_it_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"run: .*best\.keras cannot be used"):
        RunDirectory.find(made(tmp_path, "a", 0, best=False, last=False).path).checkpoint  # noqa: B018
    with pytest.raises(UserError, match="has no checkpoint"):
        RunDirectory.find(made(tmp_path, "b", 0).path).checkpoint  # noqa: B018


@pytest.mark.parametrize("fault", checkpoints.FAULTS)
def test_item_69_whatever_is_wrong_with_the_best_the_last_is_used(tmp_path, fault):
    run = made(tmp_path, "run", 0, best=True, last=True)
    assert run.checkpoints_for() == [run.best, run.last]
    checkpoints.damage(run.best, fault)
    with pytest.warns(UserWarning, match=r"best\.keras cannot be used: .*; last\.keras is used"):
        assert run.checkpoints_for() == [run.last]
    checkpoints.write(run.best)
    checkpoints.damage(run.last, fault)  # it is not needed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.checkpoints_for() == [run.best]


def test_a_file_with_another_model_is_no_checkpoint(tmp_path):
    run = made(tmp_path, "run", 0, best=True)
    checkpoints.write(run.best, "Functional")
    with pytest.raises(UserError, match=r"init: .*best\.keras cannot be used: it holds a Functional, no VisionModel"):
        run.checkpoints_for("init")


posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="the lock is POSIX's")


@posix
def test_a_run_stays_held_whatever_this_process_reads_of_it(tmp_path):
    """As in a notebook that trains and checks."""
    run = made(tmp_path, "run", 0)
    assert run.hold() and run.hold() and not run.held
    (run.path / "lock").read_bytes()
    other = RunDirectory(run.path)
    assert other.held and other.held and not other.hold()
    run.release()
    run.release()
    assert not other.held and other.hold()


@posix
def test_to_ask_keeps_nobody_from_training(tmp_path, monkeypatch):
    run = made(tmp_path, "run", 0)
    assert not run.held and not (run.path / "lock").exists()
    (run.path / "lock").touch()
    asks = open(run.path / "lock", "rb")  # noqa: SIM115
    fcntl.flock(asks, fcntl.LOCK_SH)
    assert not run.held
    monkeypatch.setattr(run_directory.time, "sleep", lambda _: asks.close())
    assert run.hold()


@posix
def test_a_process_that_was_forked_does_not_hold_the_run_of_its_parent(tmp_path):
    run, (read, write), (began, begins) = made(tmp_path, "run", 0), os.pipe(), os.pipe()
    assert run.hold()
    if (child := os.fork()) == 0:
        os.close(write)
        os.write(begins, b"1")
        os.read(read, 1)  # until the parent is done
        os._exit(0)
    try:
        os.read(began, 1)
        assert RunDirectory(run.path).held  # the child has let go of its own alone
        run.release()
        assert RunDirectory(run.path).hold()
    finally:
        os.close(write)
        os.waitpid(child, 0)
        for descriptor in (read, began, begins):
            os.close(descriptor)
