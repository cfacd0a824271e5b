"""The tagging task: records and drawings."""

import json

import numpy as np
import pytest

from visiontasks.drawing.colors import color
from visiontasks.evaluation.tasks.tagging import Tagging
from visiontasks.sample import Sample

NAMES = ["sun", "sea", "sand", "bird", "boat", "fog"]
SCORES = np.array([0.1, 0.9, 0.5, 0.2, 0.3, 0.05], np.float32)
IMAGE = np.full((256, 256, 3), 77, np.uint8)


def inked(drawing, number):
    """How many pixels of the legend have the tag's colour."""
    return (drawing[256:] == color(number)).all(axis=-1).sum()


def test_json_is_every_tag_best_first():
    record = json.loads(json.dumps(Tagging(NAMES).to_json({"scores": SCORES})))
    assert [entry["name"] for entry in record] == ["sea", "sand", "boat", "bird", "sun", "fog"]
    assert [entry["score"] for entry in record] == pytest.approx([0.9, 0.5, 0.3, 0.2, 0.1, 0.05])


def test_drawn_are_the_present_and_the_next_three():
    drawing = Tagging(NAMES).draw_prediction(IMAGE, {"scores": SCORES})
    assert [inked(drawing, i) > 0 for i in range(6)] == [True, True, True, True, True, False]
    nothing = Tagging(NAMES).draw_prediction(IMAGE, {"scores": SCORES / 2})
    assert inked(nothing, 1) < inked(drawing, 1)  # a hollow swatch: its score is under one half


@pytest.mark.parametrize(
    ("tags", "shown"), [([1, 0, 1, -1, 0, 0], {0, 2}), ([0] * 6, set()), ([-1] * 6, set()), (None, set())]
)
def test_ground_truth_shows_the_present_tags(tags, shown):
    tags = None if tags is None else np.array(tags, np.float32)
    drawing = Tagging(NAMES).draw_truth(IMAGE, Sample(image=IMAGE, tags=tags))
    assert {i for i in range(6) if inked(drawing, i)} == shown
    assert (drawing[256:] < 100).any()  # "no tags" and "not labeled" are written, not left blank


def test_main_metric_is_in_the_result():
    task = Tagging(NAMES)
    metric = task.metric()
    sample = Sample(image=IMAGE, tags=np.array([0, 1, 0, 0, 0, 0], np.float32))
    metric.update(sample, task.restore({"scores": SCORES}, None))
    assert metric.result()[task.main_metric] == 1


def test_an_image_s_score_is_what_its_tags_are_given():
    task = Tagging(NAMES)
    tags = np.array([0, 1, -1, 1, -1, -1], np.float32)
    assert task.image_score(Sample(image=IMAGE, tags=tags), {"scores": SCORES}) == pytest.approx((0.9 + 0.9 + 0.2) / 3)
    for unlabeled in (None, np.full(6, -1, np.float32)):
        assert np.isnan(task.image_score(Sample(image=IMAGE, tags=unlabeled), {"scores": SCORES}))
