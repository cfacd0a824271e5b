"""The classification task: records and drawings."""

import json

import numpy as np
import pytest

from visiontasks.drawing.colors import color
from visiontasks.evaluation.tasks.classification import Classification
from visiontasks.sample import Sample

NAMES = ["daisy", "rose", "tulip", "花", "$oak", "elm", "fir"]
SCORES = np.array([0.05, 0.3, 0.02, 0.4, 0.2, 0.02, 0.01], np.float32)


def shows(drawing, number):
    return (drawing[256:] == color(number)).all(axis=-1).any()


def test_json_is_the_five_best():
    task = Classification(NAMES)
    record = json.loads(json.dumps(task.to_json(task.restore({"scores": SCORES}, None))))
    assert [entry["name"] for entry in record] == ["花", "rose", "$oak", "daisy", "tulip"]  # of equals, the first
    assert [entry["score"] for entry in record] == pytest.approx([0.4, 0.3, 0.2, 0.05, 0.02])
    assert len(Classification("ab").to_json({"scores": SCORES[:2]})) == 2


def test_drawings_name_the_classes():
    task, image = Classification(NAMES), np.full((256, 256, 3), 77, np.uint8)
    predicted = task.draw_prediction(image, {"scores": SCORES})
    assert [shows(predicted, i) for i in range(7)] == [True, True, True, True, True, False, False]
    drawn = task.draw_truth(image, Sample(image=image, label=5))
    assert [shows(drawn, i) for i in range(7)] == [False] * 5 + [True, False]
    assert (predicted[:256] == image).all() and (drawn[:256] == image).all()
    for unlabeled in (Sample(image=image), Sample(image=image, label=-1)):
        drawing = task.draw_truth(image, unlabeled)
        assert len(drawing) > 256 and not any(shows(drawing, i) for i in range(7))


def test_main_metric_is_in_the_result():
    task = Classification(NAMES)
    metric = task.metric()
    metric.update(Sample(image=np.zeros((1, 1, 3), np.uint8), label=3), {"scores": SCORES})
    assert metric.result()[task.main_metric] == 1
    assert task.metric() is not metric


def test_an_image_s_score_is_that_of_its_class():
    task, image = Classification(NAMES), np.zeros((1, 1, 3), np.uint8)
    assert task.image_score(Sample(image=image, label=4), {"scores": SCORES}) == pytest.approx(0.2)
    for unlabeled in (Sample(image=image), Sample(image=image, label=-1)):
        assert np.isnan(task.image_score(unlabeled, {"scores": SCORES}))
