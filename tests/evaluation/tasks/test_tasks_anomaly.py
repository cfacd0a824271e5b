"""Anomalies on the host: maps in the image's pixels, JSON, the map's file, drawings."""

import cv2
import numpy as np
import pytest

from visiontasks.evaluation.tasks.anomaly import Anomaly
from visiontasks.geometry import Placement
from visiontasks.sample import VOID, Sample

TASK = Anomaly(("good", "defect"))


def test_a_map_is_restored_to_the_original_pixels():
    values = np.zeros((16, 16), np.float32)
    values[4:8, 8:12] = 2.0
    restored = TASK.restore({"map": values, "score": np.float32(2)}, Placement((32, 64), (16, 16)))
    assert restored["map"].shape == (32, 64) and restored["score"] == 2
    rows, columns = np.nonzero(restored["map"] >= 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 15, 32, 47)


def test_json_and_the_file_of_the_map():
    prediction = {"map": np.float32([[0.5, 1.0], [3.25, 9.0]]), "score": np.float32(3.25)}
    assert TASK.to_json(prediction) == {"anomalous": True, "score": 3.25, "share": 0.75}
    assert TASK.to_json({**prediction, "score": np.float32(0.999)})["anomalous"] is False
    decoded = cv2.imdecode(np.frombuffer(TASK.attachments(prediction)["map.png"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == np.uint16 and decoded.tolist() == [[5000, 10000], [32500, 65535]]


def test_the_worst_image_is_the_one_farthest_on_the_wrong_side():
    image = np.zeros((4, 4, 3), np.uint8)

    def score(label, value):
        return TASK.image_score(Sample(image, label=label), {"score": value})

    assert score(1, 0.2) < score(1, 0.9) < score(1, 1.1) < score(1, 5) and score(0, 5) < score(0, 0.5)
    assert np.isnan(score(-1, 1))


def test_drawings_show_the_threshold_and_the_mask():
    image, mask = np.full((256, 256, 3), 200, np.uint8), np.zeros((256, 256), np.int32)
    mask[40:80, 100:160], mask[200:] = 1, VOID
    truth = TASK.draw_truth(image, Sample(image, label=1, mask=mask))
    assert (truth[60, 130] != 200).any() and (truth[150, 130] == 200).all()
    rows, columns = np.ogrid[:256, :256]
    values = np.float32(3 * np.exp(-((rows - 60) ** 2 + (columns - 130) ** 2) / 400))
    drawn = TASK.draw_prediction(image, {"map": values, "score": np.float32(3)})
    below = drawn[:256, :256].astype(int)
    assert below[60, 130].sum() > 500 and below[200, 40].max() < 100  # bright at the defect, dark elsewhere
    line = values[(below == 255).all(axis=-1)]
    assert len(line) > 50 and line.min() > 0.8 and line.max() < 1.2
    assert TASK.draw_truth(image, Sample(image)).shape[1] == 256


@pytest.mark.parametrize("score, word", [(0.99, "good"), (1.0, "anomalous")])
def test_the_legend_says_what_the_score_means(monkeypatch, score, word):
    titles = []
    monkeypatch.setattr("visiontasks.evaluation.tasks.anomaly.anomalies_drawn", lambda *a: titles.append(a[-1]))
    TASK.draw_prediction(None, {"map": None, "score": np.float32(score)})
    assert titles == [f"{word}: score {score:.2f}"]
