"""Scoring a recipe whose weights are complete without training."""

import json

import cv2
import numpy as np
import pytest

from visiontasks import evaluate
from visiontasks.errors import UserError


def test_a_complete_recipe_is_scored_on_a_folder(tmp_path, monkeypatch):
    from visiontasks.weights.imagenet import class_names

    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(class_names()[:2]):
        (tmp_path / "data" / "val" / name).mkdir(parents=True)
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        for part in ("train", "val"):
            image = np.full((40, 50, 3), 50 + 100 * number, np.uint8)
            cv2.imwrite(str(tmp_path / "data" / part / name / f"{part}.png"), image)
    assert evaluate.evaluate(["recipe=imagenet", "data=data", "batch=2"]) == 0
    figures = json.loads((tmp_path / "evaluations" / "imagenet" / "evaluation.json").read_text())
    assert 0 <= figures["top1"] <= 1


def test_a_recipe_to_be_trained_and_two_kinds_at_once_are_errors():
    with pytest.raises(UserError, match="ssd_det has weights that must be trained.*Train it"):
        evaluate.evaluate(["recipe=ssd_det"])
    for words in (["run=runs", "recipe=imagenet"], ["data=."]):
        with pytest.raises(UserError, match="expected run=DIR, the folder of a run, or recipe=NAME"):
            evaluate.evaluate(words)


def test_items_87_and_98_other_data_have_a_folder_of_their_own():
    long = [f"data.val.root=/{'d' * 99}/{number}" for number in range(4)]
    name = evaluate._name_of({"data": "x/a"}, long)
    assert name.startswith("a_data.val.root=_ddd") and len(name) <= 200
    assert name != evaluate._name_of({"data": "x/a"}, [*long[:3], long[3] + "1"])
    # names alike, data not
    one, other = (evaluate._of({}, [f"data.val.root={root}"]) for root in ("a/x", "a_x"))
    assert one and one != other and evaluate._of({"data": "x/a"}, []) != evaluate._of({"data": "y/a"}, [])
    assert evaluate._of({}, []) == ""
