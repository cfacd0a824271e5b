"""Errors of lower rooms get a recipe's paths."""

import pickle

import pytest

from visiontasks.errors import DataError, UserError, under
from visiontasks.recipe.schema import recipe_paths


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("batch", "data.batch"),
        ("train.values", "data.train.values"),
        ("devices", "train.devices"),
        ("freeze.level", "train.freeze.level"),
        ("augment[0].Blur.p", "data.augment[0].Blur.p"),
        ("dir", "run.dir"),
        ("weights", "weights"),
    ],
)
def test_arguments_get_their_paths(argument, path):
    with pytest.raises(DataError) as error, recipe_paths():
        raise DataError("got 3.", argument, fix=8)
    assert str(error.value) == f"{path}: got 3. Set {path}=8."


@pytest.mark.parametrize(
    "text", ["/home/my seed=3/a.png: no mask", "batch: a folder", "/a/train/batch.png: a batch of size 3", "split=2/a"]
)
def test_a_text_is_not_rewritten(text):
    for argument, start in ((None, ""), ("values", "data.train.values: ")):
        with pytest.raises(UserError) as error, recipe_paths(), under("train"):
            raise UserError(text, argument)
        assert str(error.value) == start + text


def test_an_error_of_a_worker_process_keeps_its_argument():
    error = pickle.loads(pickle.dumps(DataError("got 3.", "values", fix="[0,3]")))
    assert type(error) is DataError and str(error) == "values: got 3. Set values=[0,3]."
