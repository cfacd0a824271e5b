"""The detection task: back to original pixels, records, drawings."""

import json

import numpy as np
import pytest

from visiontasks.data.placing import place
from visiontasks.data.sources.shapes import Shapes
from visiontasks.drawing import boxes as drawn_boxes
from visiontasks.drawing.boxes import Mark, boxed
from visiontasks.drawing.colors import GRAY, color
from visiontasks.evaluation.tasks import detection
from visiontasks.evaluation.tasks.detection import Detection
from visiontasks.geometry import Placement
from visiontasks.inference.views import views
from visiontasks.preprocess import Preprocess
from visiontasks.sample import Sample

NAMES = ["cat", "dog", "bird"]
IMAGE = np.full((300, 400, 3), 77, np.uint8)
SIZES = [(1, 1), (32, 32), (7, 300), (300, 7), (512, 640), (300, 5000), (4500, 4200)]


def decoded(boxes, scores, classes, valid=None):
    return {
        "boxes": np.reshape(boxes, (-1, 4)).astype(np.float32),
        "scores": np.array(scores, np.float32),
        "classes": np.array(classes, np.int32),
        "valid": np.ones(len(scores), bool) if valid is None else np.array(valid),
    }


def restored(boxes, scores, classes, image=IMAGE):
    size = image.shape[:2]
    return Detection(NAMES).restore(decoded(boxes, scores, classes), Placement(size, size))


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_a_perfect_prediction_scores_one_in_original_pixels(mode):
    """Objects placed by the data layer, answered exactly as placed, with padding rows as a head gives them."""
    source = Shapes(count=6, size=(96, 160), seed=1)
    task = Detection(source.names["classes"])
    metric = task.metric()
    for sample in source:
        placement = Placement(sample.image.shape[:2], (128, 128), mode)
        seen = place(sample, placement)
        count = len(seen.boxes)
        prediction = decoded(np.zeros((20, 4)), np.full(20, 0.99), np.zeros(20), np.arange(20) < count)
        prediction["boxes"][:count], prediction["classes"][:count] = seen.boxes, seen.classes
        back = task.restore(prediction, placement)
        assert {name: (value.dtype, len(value)) for name, value in back.items()} == {
            "boxes": (np.float32, count),
            "scores": (np.float32, count),
            "classes": (np.int32, count),
        }
        np.testing.assert_allclose(back["boxes"], sample.boxes, atol=1e-4)
        metric.update(sample, back)
    assert metric.result()[task.main_metric] == pytest.approx(1)


def test_restored_are_the_valid_ones_that_are_seen_best_first():
    boxes = [[0, 70, 20, 90], [0, 0, 50, 10], [30, 80, 60, 95], [5, 90, 5, 99], [np.nan, 70, 20, 90], [1, 70, 9, 80]]
    prediction = decoded(boxes, [0.2, 0.9, 0.5, 0.8, 0.7, np.nan], [0, 1, 2, 0, 1, 2])
    prediction = {name: np.concatenate([value, value]) for name, value in prediction.items()}
    prediction["valid"][6:] = False
    # a flat image in the middle of a square canvas: the second box lies on padding, the fourth has no width
    back = Detection(NAMES).restore(prediction, Placement((50, 200), (200, 200), "letterbox"))
    assert back["classes"].tolist() == [2, 0]
    assert back["scores"].tolist() == np.float32([0.5, 0.2]).tolist()
    assert back["boxes"].tolist() == [[30, 5, 60, 20], [0, 0, 20, 15]]


@pytest.mark.parametrize("tile", [None, 200])
def test_crowded_objects_outlive_merging(tile):
    """Two that overlap by 0.6, seen in the image and in its mirror image, or in every tile that shows them."""
    image_size, crowd = (300, 400), np.float32([[20, 10, 120, 110], [20, 10, 120, 70]])
    seen = views(image_size, Preprocess((200, 200)), tile, 0.2, flip=True)
    predictions = []
    for view in seen:
        top, left, bottom, right = view.window
        inside = crowd - np.float32([left, top, left, top])
        if view.flipped:
            inside = np.stack([right - left - inside[:, 2], inside[:, 1], right - left - inside[:, 0], inside[:, 3]], 1)
        scale_y, scale_x = view.placement.scale
        shown = (crowd[:, 0] >= left).all() and (crowd[:, 1] >= top).all()
        predictions.append(decoded(inside * np.float32([scale_x, scale_y] * 2), [0.9, 0.8], [1, 1], [shown] * 2))
    merged = Detection(NAMES).merge(predictions, seen)
    np.testing.assert_allclose(merged["boxes"], crowd, atol=1e-3)
    np.testing.assert_allclose(merged["scores"], [0.9, 0.8])


def test_in_crop_the_boxes_come_back_too():
    placement = Placement((100, 200), (50, 50), "crop")
    back = Detection(NAMES).restore(decoded([0, 0, 50, 50], [0.5], [0]), placement)
    assert back["boxes"].tolist() == [[50, 0, 150, 100]]


def test_json_is_every_detection_best_first():
    prediction = restored([[10, 20, 110.126, 220.5], [1 / 3, 0, 5, 7]], [0.25, 0.123456789], [2, 0])
    prediction = {name: value[::-1] for name, value in prediction.items()}
    record = json.loads(json.dumps(Detection(NAMES).to_json(prediction)))
    assert record == [
        {"box": [10.0, 20.0, 110.13, 220.5], "class": "bird", "score": 0.25},
        {"box": [0.33, 0.0, 5.0, 7.0], "class": "cat", "score": 0.123457},
    ]
    assert Detection(NAMES).to_json(restored([], [], [])) == []


def has(panel, rgb):
    return bool((panel == rgb).all(axis=-1).any())


def test_ground_truth_is_drawn_in_class_colors_and_ignored_objects_in_dashes():
    boxes = np.float32([[20, 40, 120, 140], [150, 60, 260, 200], [280, 100, 380, 280]])
    sample = Sample(image=IMAGE, boxes=boxes, classes=np.int32([0, 1, 2]))
    object.__setattr__(sample, "ignored", np.array([False, False, True]))
    drawn = Detection(NAMES).draw_truth(IMAGE, sample)
    drawing, legend = drawn[:300], drawn[300:]
    assert has(drawing, color(0)) and has(drawing, color(1)) and has(drawing, GRAY) and not has(drawing, color(2))
    assert has(legend, color(0)) and has(legend, color(1)) and not has(legend, color(2))
    left = (drawing[110:280, 280] == GRAY).all(axis=-1)
    assert 0.3 < left.mean() < 0.7  # dashes, and gaps between
    assert (drawing[41:140, 20] == color(0)).all() and (drawing[41:140, 119] == color(0)).all()
    assert (drawing[60:130, 30:110] == 77).all()  # the object itself stays free
    assert (IMAGE == 77).all()


def share(panel, box, rgb):
    """The share of the left line of a box that has a color."""
    x1, y1, _, y2 = box
    return (panel[y1 + 20 : y2 - 20, x1] == rgb).all(axis=-1).mean()


def test_a_comparison_shows_right_wrong_and_missed_by_line_style(monkeypatch):
    legends, draw = [], detection.captioned
    monkeypatch.setattr(
        detection, "captioned", lambda image, entries: legends.append([e.name for e in entries]) or draw(image, entries)
    )
    right, missed, crowd, wrong = (20, 40, 120, 140), (150, 60, 260, 200), (280, 100, 380, 280), (20, 180, 130, 290)
    sample = Sample(IMAGE, boxes=np.float32([right, missed, crowd]), classes=np.int32([0, 1, 2]))
    sample = sample.replace(ignored=np.array([False, False, True]))
    inside = (290, 110, 370, 270)  # of the crowd: neither right nor wrong
    prediction = restored([right, wrong, inside, missed], [0.9, 0.8, 0.7, 0.1], [0, 1, 2, 1])
    (title, truth), (other, predicted) = Detection(NAMES).draw_comparison(IMAGE, sample, prediction)
    assert (title, other) == ("ground truth", "prediction")
    assert share(truth, right, color(0)) == share(predicted, right, color(0)) == 1
    assert 0.15 < share(truth, missed, color(1)) < 0.35  # dots
    assert 0.4 < share(predicted, wrong, color(1)) < 0.6  # dashes
    assert 0.4 < share(truth, crowd, GRAY) < 0.6 and 0.4 < share(predicted, inside, GRAY) < 0.6
    assert legends[0][-2:] == ["solid: 1 detected", "dotted: 1 missed"]
    assert legends[1][-4:] == [
        "+ 1 with lower scores",
        "solid: 1 true positives",
        "dashed: 1 false positives",
        "gray: 1 not counted",
    ]
    plain = Detection(NAMES).draw_prediction(IMAGE, prediction)  # without ground truth nothing is known of it
    assert share(plain, wrong, color(1)) == 1
    ((_, unlabeled), _) = Detection(NAMES).draw_comparison(IMAGE, Sample(IMAGE), prediction)
    assert (unlabeled[:300, :400] == 77).all()


def test_an_image_s_score_is_the_f1_of_what_is_drawn():
    boxes = np.float32([[20, 40, 120, 140], [150, 60, 260, 200], [280, 100, 380, 280]])
    task, sample = Detection(NAMES), Sample(IMAGE, boxes=boxes, classes=np.int32([0, 1, 2]))
    found = [[20, 40, 120, 140], [150, 60, 260, 200], [300, 0, 340, 40], [280, 100, 380, 280]]
    # one right, one of another class, one that is not there, and one below the score that is drawn
    prediction = restored(found, [0.9, 0.8, 0.7, 0.2], [0, 2, 0, 2])
    assert task.image_score(sample, prediction) == pytest.approx(2 / 6)
    ignored = sample.replace(ignored=np.array([False, True, False]))
    assert task.image_score(ignored, prediction) == pytest.approx(2 / 5)
    known = sample.replace(known=np.array([True, True, False]))
    assert task.image_score(known, prediction) == pytest.approx(2 / 4)
    assert task.image_score(sample, restored([], [], [])) == 0
    nothing = Sample(IMAGE, boxes=np.zeros((0, 4)), classes=np.zeros(0, int))
    assert task.image_score(nothing, prediction) == 0
    assert np.isnan(task.image_score(nothing, restored([], [], []))) and np.isnan(
        task.image_score(Sample(IMAGE), prediction)
    )


@pytest.mark.parametrize("sample", [Sample(IMAGE), Sample(IMAGE, boxes=np.zeros((0, 4)), classes=np.zeros(0, int))])
def test_no_labels_and_no_objects_are_written(sample):
    drawn = Detection(NAMES).draw_truth(IMAGE, sample)
    assert (drawn[:300, :400] == 77).all() and (drawn[300:] < 100).any()


def test_of_predictions_those_with_a_score_are_drawn():
    boxes = [[20, 40, 120, 140], [150, 60, 260, 200], [280, 100, 380, 280]]
    drawn = Detection(NAMES).draw_prediction(IMAGE, restored(boxes, [0.9, 0.3, 0.29], [0, 1, 2]))
    assert has(drawn, color(0)) and has(drawn, color(1)) and not has(drawn, color(2))
    for scores in ([0.2, 0.1, 0.05], []):
        nothing = Detection(NAMES).draw_prediction(IMAGE, restored(boxes[: len(scores)], scores, [0] * len(scores)))
        assert (nothing[:300, :400] == 77).all() and (nothing[300:] < 100).any()


@pytest.mark.parametrize("size", SIZES)
def test_any_image_with_a_crowd_of_boxes_is_drawn(size):
    image, rng = np.full((*size, 3), 77, np.uint8), np.random.default_rng(0)
    corners = rng.random((300, 2, 2)) * size[::-1]
    boxes = np.sort(corners, axis=1).reshape(-1, 4).clip(0, np.tile(size[::-1], 2))
    names = ["a name that goes on and on, far beyond the width of any image", "花", "$x", ""] * 75
    task = Detection(names)
    prediction = task.restore(decoded(boxes, rng.random(300), np.arange(300)), Placement(size, size))
    drawn = task.draw_prediction(image, prediction)
    assert drawn.dtype == np.uint8 and max(drawn.shape[:2]) >= 256 and drawn.shape[1] <= 4096


def test_boxes_lie_to_the_pixel_in_an_enlarged_image():
    """Drawn on the outermost pixels inside the box, so that boxes of neighbours do not cover each other."""
    image = np.zeros((64, 64, 3), np.uint8)
    drawn = boxed(image, [Mark((16, 8, 32, 24), "", (255, 0, 0))])
    rows, columns = np.nonzero((drawn == (255, 0, 0)).all(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (32, 95, 64, 127)
    assert (image == 0).all()


def overlap(one, other):
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return max(0, sides[0]) * max(0, sides[1])


def test_names_are_moved_out_of_each_others_way(monkeypatch):
    """Three objects at one position, and one in each corner of the image: nothing is covered or cut off."""
    tags, draw = [], drawn_boxes._tag
    monkeypatch.setattr(drawn_boxes, "_tag", lambda *given: tags.append(draw(*given)) or tags[-1])
    corners = [(0, 0, 30, 20), (370, 0, 400, 20), (0, 280, 30, 300), (370, 280, 400, 300)]
    boxes = [(100, 100, 200, 180)] * 3 + corners
    boxed(IMAGE, [Mark(box, f"name {i}", color(i)) for i, box in enumerate(boxes)])
    areas = [np.array(tag[0]) for tag in tags]
    assert len(areas) == 7
    for i, area in enumerate(areas):
        assert (area >= 0).all() and (area <= (400, 300, 400, 300)).all()
        assert all(overlap(area, other) == 0 for other in areas[:i])


@pytest.mark.parametrize("number", range(20))
def test_text_stands_out_from_every_colour(number):
    """A contrast of at least 3 to 1, as WCAG 2 asks of large text."""

    def luminance(rgb):
        part = np.array(rgb) / 255
        return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)

    pair = sorted([luminance(color(number)), luminance(drawn_boxes._ink(color(number)))])
    assert (pair[1] + 0.05) / (pair[0] + 0.05) > 3
