import pickle

import numpy as np
import pytest

from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.digits import Digits
from visiontasks.errors import DataError, UserError

pytest.importorskip("sklearn", reason="scikit-learn, which the digits come with, is in the test extra")


def test_the_parts_are_the_whole_and_every_digit_is_in_both():
    train, val = Digits(), Digits("val")
    assert (len(train), len(val)) == (1438, 359) and train.names == val.names == {"label": tuple("0123456789")}
    for split in (train, val):
        assert {split[i].label for i in range(len(split))} == set(range(10))


def test_a_sample_is_a_dark_digit_on_white():
    sample = Digits()[0]
    assert sample.image.shape == (28, 28, 3) and sample.image.dtype == np.uint8 and sample.label == 0
    assert sample.image[0, 0].min() > 230 and sample.image.min() < 40
    assert sample.image[14, 14].min() > 200  # the hole of the zero
    again = pickle.loads(pickle.dumps(Digits()))[0]
    np.testing.assert_array_equal(sample.image, again.image)


def test_a_loader_takes_them():
    batch = next(iter(Loader(Digits("val"), fields=("label",), size=(32, 32), batch=4, workers=0)))
    assert batch["image"].shape == (4, 32, 32, 3)


def test_what_is_wrong_is_named(monkeypatch):
    with pytest.raises(UserError, match="split: expected one of train, val, got 'test'"):
        Digits("test")
    with pytest.raises(IndexError):
        Digits()[1438]
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        Digits()
