"""Which run and which checkpoint of it answer."""

import os
import warnings

import checkpoints
import pytest

from visiontasks.errors import UserError
from visiontasks.training.run_directory import RunDirectory


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
    with pytest.warns(UserWarning, match=r"best\.keras is damaged: .*; last\.keras is used"):
        assert run.checkpoint == run.last


def test_without_a_whole_checkpoint_it_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"run: .*best\.keras is damaged"):
        RunDirectory.find(made(tmp_path, "a", 0, best=False, last=False).path).checkpoint  # noqa: B018
    with pytest.raises(UserError, match="has no checkpoint"):
        RunDirectory.find(made(tmp_path, "b", 0).path).checkpoint  # noqa: B018


@pytest.mark.parametrize("fault", checkpoints.FAULTS)
def test_item_69_whatever_is_wrong_with_the_best_the_last_is_used(tmp_path, fault):
    run = made(tmp_path, "run", 0, best=True, last=True)
    assert run.checkpoints_for() == [run.best, run.last]
    checkpoints.damage(run.best, fault)
    with pytest.warns(UserWarning, match=r"best\.keras is damaged: .*; last\.keras is used"):
        assert run.checkpoints_for() == [run.last]
    checkpoints.write(run.best)
    checkpoints.damage(run.last, fault)  # it is not needed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.checkpoints_for() == [run.best]


def test_a_file_with_another_model_is_no_checkpoint(tmp_path):
    run = made(tmp_path, "run", 0, best=True)
    checkpoints.write(run.best, "Functional")
    with pytest.raises(UserError, match=r"init: .*best\.keras is damaged: it holds a Functional, no VisionModel"):
        run.checkpoints_for("init")
