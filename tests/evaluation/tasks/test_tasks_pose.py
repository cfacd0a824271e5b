"""Poses: restored to the image's pixels, drawn, and written."""

import dataclasses
import json

import numpy as np
import pytest

from visiontasks.data.images import write_image
from visiontasks.data.placing import place
from visiontasks.data.sources.coco import Coco
from visiontasks.drawing.keypoints import LEFT, RIGHT
from visiontasks.evaluation.metrics.matching import HIT, IGNORED, MISS
from visiontasks.evaluation.tasks.pose import SHOWN_POINT, Pose
from visiontasks.geometry import Placement, Window
from visiontasks.inference.views import mirrored_views, views
from visiontasks.preprocess import Preprocess
from visiontasks.sample import Sample
from visiontasks.skeleton import Skeleton

SKELETON = Skeleton(["nose", "left_hand", "right_hand"], limbs=[(0, 1), (0, 2)], sigmas=[0.05, 0.05, 0.05])
SIZE = (150, 200)
IMAGE = np.full((*SIZE, 3), 77, np.uint8)
BOXES = np.float32([[10, 20, 70, 120], [100, 10, 180, 140]])
POINTS = np.float32([[[40, 30, 2], [60, 80, 1], [20, 85, 2]], [[140, 20, 2], [0, 0, 0], [110, 90, 2]]])


def sample(**changes):
    return Sample(IMAGE, boxes=BOXES, classes=np.int32([0, 0]), keypoints=POINTS, id="a", **changes)


def task(names=("person",)):
    return Pose(names, skeleton=SKELETON)


def decoded(one, scores=(0.6, 0.9), **changes):
    """A head's answer for a Sample on its canvas, with two rows of padding."""
    count = len(one.boxes)
    points = np.zeros((count + 2, 3, 3), np.float32)
    points[:count] = one.keypoints
    points[:count, :, 2] = np.where(one.keypoints[..., 2] > 0, 0.8, 0.05)
    found = {
        "boxes": np.concatenate([one.boxes, np.zeros((2, 4), np.float32)]),
        "scores": np.float32([*scores, 0.99, 0.99]),
        "classes": np.zeros(count + 2, np.int32),
        "valid": np.arange(count + 2) < count,
        "keypoints": points,
    }
    return {**found, **changes}


PLACEMENTS = [
    Placement(SIZE, (96, 96), "letterbox"),
    Placement(SIZE, (64, 200), "stretch"),
    Placement(SIZE, SIZE),
    Window.around([-10, -5, 220, 160], SIZE, (128, 96)),
]


@pytest.mark.parametrize("placement", PLACEMENTS, ids=["letterbox", "stretch", "same", "object"])
def test_keypoints_come_back_in_the_image_s_pixels_best_first(placement):
    prediction = decoded(place(sample(), placement))
    before = prediction["keypoints"].copy()
    found = task().restore(prediction, placement)
    np.testing.assert_array_equal(prediction["keypoints"], before)  # left as it was
    np.testing.assert_allclose(found["boxes"], BOXES[::-1], atol=1e-3)
    assert found["scores"].tolist() == np.float32([0.9, 0.6]).tolist()
    assert found["keypoints"].shape == (2, 3, 3) and found["keypoints"].dtype == np.float32
    np.testing.assert_allclose(found["keypoints"][1, :, :2], POINTS[0, :, :2], atol=1e-3)
    np.testing.assert_allclose(found["keypoints"][1, :, 2], 0.8)
    metric = task().metric()
    metric.update(sample(), found)
    assert metric.result()[task().main_metric] == pytest.approx(1)


@pytest.mark.parametrize("placement", PLACEMENTS, ids=["letterbox", "stretch", "same", "object"])
def test_maps_over_boxes_become_keypoints(placement):
    one = place(sample(), placement)
    prediction = decoded(one)
    del prediction["keypoints"]
    rows, columns = np.mgrid[:28, :28] + 0.5
    maps = np.zeros((4, 28, 28, 3), np.float32)
    for n, (x1, y1, x2, y2) in enumerate(one.boxes):
        for k, (x, y, _) in enumerate(one.keypoints[n]):
            squares = (columns - (x - x1) / (x2 - x1) * 28) ** 2 + (rows - (y - y1) / (y2 - y1) * 28) ** 2
            maps[n, :, :, k] = 20 * np.exp(-squares / 2)
    found = task().restore({**prediction, "keypoint_maps": maps}, placement)
    away = np.linalg.norm(found["keypoints"][::-1, :, :2] - POINTS[..., :2], axis=-1)[POINTS[..., 2] > 0]
    assert away.max() < 3.5 and ((found["keypoints"][..., 2] > 0) & (found["keypoints"][..., 2] <= 1)).all()


def test_what_a_diverged_network_predicts_is_not_found():
    prediction = decoded(sample())
    prediction["keypoints"][0, 1], prediction["keypoints"][1, 2, 2] = np.nan, np.inf
    found = task().restore(prediction, Placement(SIZE, SIZE))
    assert np.isfinite(found["keypoints"]).all() and found["keypoints"][1, 1].tolist() == [0, 0, 0]
    metric = task().metric()
    metric.update(sample(), found)
    assert 0 <= metric.result()["keypoint_ap"] <= 1
    task().draw_prediction(IMAGE, found)


def test_records_name_the_keypoints_that_were_found():
    found = task().restore(decoded(sample()), Placement(SIZE, SIZE))
    found["keypoints"][0, 1, 2] = 0
    first, second = json.loads(json.dumps(task().to_json(found)))
    assert first["class"] == "person" and first["score"] == 0.9 and first["box"] == [100, 10, 180, 140]
    assert first["keypoints"] == {"nose": [140, 20, 0.8], "right_hand": [110, 90, 0.8]}
    assert list(second["keypoints"]) == list(SKELETON)


def test_no_detection_is_drawn_and_written():
    prediction = decoded(sample(), valid=np.zeros(4, bool))
    found = task().restore(prediction, PLACEMENTS[0])
    assert found["keypoints"].shape == (0, 3, 3) and task().to_json(found) == []
    assert task().draw_prediction(IMAGE, found).shape[2] == 3
    ((_, truth), (_, drawn)) = task().draw_comparison(IMAGE, sample(), found)
    assert truth.shape[2] == drawn.shape[2] == 3


def near(drawn, point, color):
    """Whether a color is at a point of the image, which a drawing may have enlarged."""
    factor = drawn.shape[1] / SIZE[1]
    x, y = (int(value * factor) for value in point)
    return (drawn[y - 3 : y + 4, x - 3 : x + 4] == color).all(axis=-1).any()


def test_keypoints_are_drawn_in_the_colors_of_their_sides():
    found = task().restore(decoded(sample()), Placement(SIZE, SIZE))
    for drawn in (task().draw_truth(IMAGE, sample()), task().draw_prediction(IMAGE, found)):
        assert near(drawn, POINTS[1, 2, :2], RIGHT) and near(drawn, POINTS[0, 2, :2], RIGHT)
        assert near(drawn, POINTS[0, 1, :2], LEFT)
        assert not near(drawn, POINTS[0, 1, :2], RIGHT)


def test_drawings_differ_where_their_keypoints_do():
    found = task().restore(decoded(sample()), Placement(SIZE, SIZE))
    plain = task().draw_prediction(IMAGE, found)
    hidden = {**found, "keypoints": found["keypoints"].copy()}
    hidden["keypoints"][1, 1, 2] = SHOWN_POINT - 0.01
    without = task().draw_prediction(IMAGE, hidden)
    assert near(plain, POINTS[0, 1, :2], LEFT) and not near(without, POINTS[0, 1, :2], LEFT)
    rows, columns = np.nonzero((plain != without).any(axis=-1))
    factor = plain.shape[1] / SIZE[1]
    x, y = columns / factor, rows / factor
    # only the hand and the limb that leads to it
    assert x.min() > 35 and x.max() < 66 and y.min() > 25 and y.max() < 86
    np.testing.assert_array_equal(IMAGE, 77)


def test_objects_of_one_class_differ_in_color_and_ignored_ones_are_gray():
    truth = task().draw_truth(IMAGE, sample())
    ignored = task().draw_truth(IMAGE, sample(ignored=np.array([True, False])))
    assert truth.shape[1] == ignored.shape[1]
    limb = (POINTS[0, 0, :2] + POINTS[0, 2, :2]) / 2
    other = (POINTS[1, 0, :2] + POINTS[1, 2, :2]) / 2
    factor = truth.shape[1] / SIZE[1]

    def strongest(drawn, point):
        x, y = (int(value * factor) for value in point)
        part = drawn[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).astype(int)
        return part[np.ptp(part, axis=1).argmax()]

    assert np.abs(strongest(truth, limb) - strongest(truth, other)).max() > 60
    assert np.ptp(strongest(ignored, limb)) < 20 < np.ptp(strongest(ignored, other))


def test_an_image_without_labels_says_so():
    drawn = task().draw_truth(IMAGE, Sample(IMAGE))
    boxes = task().draw_truth(IMAGE, Sample(IMAGE, boxes=BOXES, classes=np.int32([0, 0])))
    assert drawn.shape[2] == boxes.shape[2] == 3


def test_results_are_coco_s(tmp_path):
    write_image(tmp_path / "a.png", IMAGE)
    entry = {"id": 1, "image_id": 70, "category_id": 4, "bbox": [10, 20, 60, 100], "area": 3000.0}
    data = {
        "images": [{"id": 70, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [{**entry, "keypoints": POINTS[0].ravel().tolist(), "num_keypoints": 3}],
        "categories": [{"id": 4, "name": "person", "keypoints": list(SKELETON), "skeleton": [[1, 2], [1, 3]]}],
    }
    (tmp_path / "person_keypoints.json").write_text(json.dumps(data))
    source = Coco(str(tmp_path / "person_keypoints.json"))
    found = task().restore(decoded(sample()), Placement(SIZE, SIZE))
    results = json.loads(json.dumps(source.results(source[0], found)))
    assert [(one["image_id"], one["category_id"]) for one in results] == [(70, 4)] * 2
    assert results[1]["keypoints"] == [40, 30, 0.8, 60, 80, 0.8, 20, 85, 0.8]
    assert results[1]["bbox"] == [10, 20, 60, 100] and results[1]["score"] == pytest.approx(0.6)
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = data
    coco.createIndex()
    loaded = coco.loadRes(results)
    assert len(loaded.anns) == 2


@pytest.mark.parametrize("placement", PLACEMENTS, ids=["letterbox", "stretch", "same", "object"])
def test_maps_are_drawn_where_the_keypoints_are(placement):
    """A cell that is bright on the canvas is bright at the same place of the image."""
    height, width = placement.size
    rows, columns = height // 4, width // 4
    heat = np.zeros((rows, columns), np.float32)
    x, y = placement.restore_points(np.float32([2 * width / 3, height / 2]))
    heat[int(rows / 2), int(2 * columns / 3)] = 1
    found = task().restore({**decoded(place(sample(), placement)), "heat": heat}, placement)
    ((title, drawn),) = task().draw_maps(IMAGE, found)
    assert title == "heat maps"
    factor = drawn.shape[1] / SIZE[1]
    row, column = np.unravel_index(drawn[: int(SIZE[0] * factor)].sum(axis=-1, dtype=int).argmax(), drawn.shape[:2])
    cell = 4 / min(placement.scale)
    assert abs(column / factor - x) <= cell and abs(row / factor - y) <= cell


def test_fields_and_maps_over_boxes_are_drawn_too():
    placement = Placement(SIZE, SIZE)
    cells = {"heat": np.zeros((4, 4), np.float32), "field": np.ones((4, 4, 2), np.float32)}
    drawn = task().draw_comparison(IMAGE, sample(), task().restore({**decoded(sample()), **cells}, placement))
    assert [title for title, _ in drawn] == ["ground truth", "prediction", "heat maps", "affinity fields"]
    prediction = decoded(sample())
    del prediction["keypoints"]
    logits = np.zeros((4, 28, 28, 3), np.float32)
    logits[:, 20, 7] = 20
    found = task().restore({**prediction, "keypoint_maps": logits}, placement)
    np.testing.assert_allclose([one.window for one in found["maps"]], BOXES[::-1], atol=1e-3)
    for one, points in zip(found["maps"], found["keypoints"], strict=True):
        assert one.heat.argmax() == 20 * 28 + 7
        assert one.heat.max() == pytest.approx(points[:, 2].max())
    assert len(task().draw_maps(IMAGE, found)) == 1
    assert task().draw_maps(IMAGE, task().restore(decoded(sample()), placement)) == []
    # as many drawings where nothing is found, so that those of a video are of one size; no maps of what is not drawn
    low = task().restore({**prediction, "keypoint_maps": logits, "scores": np.float32([0.1, 0.2, 0, 0])}, placement)
    assert low["maps"] == [] and len(task().draw_maps(IMAGE, low)) == 1


def test_maps_of_tiles_lie_where_the_tiles_do():
    preprocess = Preprocess((100, 100), "letterbox")
    seen = views(SIZE, preprocess, tile=100, flip=True)
    heat = np.full((10, 10), np.nan, np.float32)  # of a diverged training
    parts = [{**decoded(sample(), valid=np.zeros(4, bool)), "heat": heat} for _ in seen]
    merged = task().merge(parts, seen)
    assert [one.window[:2] for one in merged["maps"]] == [view.window[1::-1] for view in seen[::2]]
    assert all(one.window[2] - one.window[0] == 100 and not one.heat.any() for one in merged["maps"])


def test_one_object_in_a_mirrored_image_is_one_whatever_both_views_say():
    """The keypoints are averaged, here 8 pixels apart; the box lies around those that are likely."""
    seen = mirrored_views(SIZE, Preprocess((128, 96), "object"))
    parts = []
    for view, off in zip(seen, (0, 8), strict=True):
        points = POINTS[1:] + np.float32([0, off, 0])
        if view.flipped:
            points = points[:, [0, 2, 1]]
            points[..., 0] = SIZE[1] - points[..., 0]
        placement = view.placement
        points[..., :2] = points[..., :2] * placement.scale[::-1] + placement.offset[::-1]
        points[..., 2] = 0.8
        parts.append({"keypoints": points, "scores": np.float32([0.8])})
    found = task().merge(parts, seen)
    np.testing.assert_allclose(found["keypoints"][0, [0, 2], :2], POINTS[1, [0, 2], :2] + [0, 4], atol=0.01)
    assert len(found["scores"]) == 1 and found["scores"][0] == pytest.approx(found["keypoints"][0, :, 2].mean())
    np.testing.assert_allclose(found["boxes"][0], [0, 4, 140, 94], atol=0.01)
    for part in parts:
        part["keypoints"][..., 2] = 0.1
    assert len(task().merge(parts, seen)["scores"]) == 0


def test_what_was_not_found_is_nowhere():
    prediction = decoded(sample())
    prediction["keypoints"][0, 1] = 0
    placement = Placement(SIZE, (128, 128), "letterbox")
    assert task().restore(prediction, placement)["keypoints"][1, 1].tolist() == [0, 0, 0]


def test_of_people_without_keypoints_one_detection_each_is_not_counted():
    nothing = POINTS.copy()
    nothing[0] = 0
    one = dataclasses.replace(sample(), keypoints=nothing)
    found = task().restore(decoded(sample()), Placement(SIZE, SIZE))
    found = {name: np.concatenate([found[name], found[name][1:]]) for name in task().columns}  # twice the same
    outcomes, _ = task().outcomes(one, found)
    assert outcomes.tolist() == [HIT, IGNORED, MISS]
    crowd = task().outcomes(dataclasses.replace(sample(), ignored=np.array([True, False])), found)
    assert crowd[0].tolist() == [HIT, IGNORED, IGNORED]  # of a crowd all of them


def test_images_are_judged_by_keypoints_and_not_by_boxes():
    """A detection in the right box with keypoints elsewhere is a false positive, and its person missed."""
    good = task().restore(decoded(sample()), Placement(SIZE, SIZE))
    moved = {**good, "keypoints": good["keypoints"].copy()}
    moved["keypoints"][0, :, :2] += (0, 60)
    outcomes, found = task().outcomes(sample(), moved)
    assert outcomes.tolist() == [MISS, HIT] and found.tolist() == [HIT, MISS]
    assert task().outcomes(sample(), good)[0].tolist() == [HIT, HIT]
    assert task().image_score(sample(), good) == pytest.approx(1)
    assert task().image_score(sample(), moved) == pytest.approx(0.5, abs=0.01)
    near = {**good, "keypoints": good["keypoints"] + np.float32([4, 0, 0])}
    assert 0.5 < task().image_score(sample(), near) < 0.95  # not one for all that are hits
    drawn, same = (dict(task().draw_comparison(IMAGE, sample(), one))["prediction"] for one in (moved, good))
    assert drawn.shape != same.shape or (drawn != same).any()


def test_what_is_not_labeled_or_ignored_is_not_counted():
    found = task().restore(decoded(sample()), Placement(SIZE, SIZE))
    nothing = POINTS.copy()
    nothing[0] = 0
    for one in (sample(ignored=np.array([True, False])), dataclasses.replace(sample(), keypoints=nothing)):
        outcomes, objects = task().outcomes(one, found)
        assert outcomes.tolist() == [HIT, IGNORED] and objects.tolist() == [IGNORED, HIT]
        assert task().image_score(one, found) == pytest.approx(1)
    empty = dataclasses.replace(sample(), boxes=BOXES[:0], classes=np.zeros(0, np.int32), keypoints=POINTS[:0])
    assert task().image_score(empty, found) == 0
    none = {name: value[:0] for name, value in found.items() if name in task().columns}
    assert np.isnan(task().image_score(empty, none)) and task().image_score(sample(), none) == 0
    other = task(("person", "dog")).outcomes(sample(), {**found, "classes": np.int32([1, 0])})
    assert other[0].tolist() == [MISS, HIT]
