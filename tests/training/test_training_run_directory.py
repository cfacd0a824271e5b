"""Which run and which checkpoint of it answer."""

import os
import warnings
import zipfile

import pytest

from visiontasks.errors import UserError
from visiontasks.training.run_directory import RunDirectory


def made(root, name, age, **checkpoints):
    """A run of some seconds ago; a checkpoint is whole or not."""
    run = RunDirectory(root / name)
    run.best.parent.mkdir(parents=True)
    run.recipe.write_text("")
    os.utime(run.recipe, (1e9 - age, 1e9 - age))
    for key, whole in checkpoints.items():
        getattr(run, key).write_bytes(b"damaged")
        if whole:
            zipfile.ZipFile(getattr(run, key), "w").close()
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
    with pytest.warns(UserWarning, match=r"best\.keras is damaged; last\.keras is used"):
        assert run.checkpoint == run.last


def test_without_a_whole_checkpoint_it_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"run: .*best\.keras is damaged"):
        RunDirectory.find(made(tmp_path, "a", 0, best=False, last=False).path).checkpoint  # noqa: B018
    with pytest.raises(UserError, match="has no checkpoint"):
        RunDirectory.find(made(tmp_path, "b", 0).path).checkpoint  # noqa: B018


def test_item_69_a_damaged_block_inside_a_checkpoint_is_found(tmp_path):
    run = made(tmp_path, "run", 0, best=True, last=True)
    with zipfile.ZipFile(run.best, "w") as file:
        file.writestr("model.weights.h5", b"weights " * 100)
    content = bytearray(run.best.read_bytes())
    content[100:140] = bytes(40)
    run.best.write_bytes(content)
    assert zipfile.is_zipfile(run.best)
    with pytest.warns(UserWarning, match=r"best\.keras is damaged; last\.keras is used"):
        assert run.checkpoint == run.last
