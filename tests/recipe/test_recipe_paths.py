"""Errors of lower rooms get a recipe's words."""

import pytest

from visiontasks.errors import DataError, UserError
from visiontasks.recipe.paths import recipe_paths, under


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch: expected 8; set batch=8.", "data.batch: expected 8; set data.batch=8."),
        ("train.values: wrong; set train.values=[0,255].", "data.train.values: wrong; set data.train.values=[0,255]."),
        ("data.batch: expected 8; set data.batch=8.", "data.batch: expected 8; set data.batch=8."),
        ("devices: no GPU; use devices=auto.", "train.devices: no GPU; use train.devices=auto."),
        ("train.epochs: expected 1 up", "train.epochs: expected 1 up"),
        ("augment[0].Blur.p: expected 0..1", "data.augment[0].Blur.p: expected 0..1"),
        ("dir: cannot write; give dir=DIR", "run.dir: cannot write; give run.dir=DIR"),
        ("/a/train/batch.png: a batch of size 3: no", "/a/train/batch.png: a batch of size 3: no"),
        ("weights: no such file", "weights: no such file"),
    ],
)
def test_arguments_get_their_paths_and_nothing_else(text, expected):
    with pytest.raises(DataError) as error, recipe_paths(), recipe_paths():
        raise DataError(text)
    assert str(error.value) == expected


@under("train", ["values"])
def raise_it():
    raise UserError("m.png: got 3; add it to values=.")


def test_paths_add_up_from_the_lowest_room():
    with pytest.raises(UserError, match=r"^m.png: got 3; add it to data.train.values=.$"), recipe_paths():
        raise_it()
