"""Detection metrics: COCO's figures against pycocotools called directly, F1 and confusion against plain loops."""

import contextlib
import csv
import gc
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from visiontasks.drawing.charts import precision_recall_figure
from visiontasks.errors import DataError, UserError
from visiontasks.evaluation.metrics.coco import METRICS
from visiontasks.evaluation.metrics.detection import Detection
from visiontasks.sample import Sample

DATA = Path(__file__).resolve().parents[3] / "../shared/data"
MINI, OFFICIAL = DATA / "coco-mini", DATA / "cocoapi-results/results"
IMAGE = np.zeros((400, 400, 3), np.uint8)


def labeled(boxes, classes, image=IMAGE, **more):
    sample = Sample(image=image, boxes=np.reshape(boxes, (-1, 4)).astype(np.float32), classes=np.int32(classes), id="p")
    for name, value in more.items():
        object.__setattr__(sample, name, value)
    return sample


def predicted(boxes, classes, scores):
    return {
        "boxes": np.reshape(boxes, (-1, 4)).astype(np.float32),
        "classes": np.array(classes, np.int32),
        "scores": np.array(scores, np.float32),
    }


def corners(sides):
    """x1, y1, x2, y2 of COCO's x, y, width, height."""
    sides = np.reshape(sides, (-1, 4)).astype(np.float64)
    return np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)


def score(pairs, classes, **options):
    metric = Detection([f"c{i}" for i in range(classes)], **options)
    for sample, prediction in pairs:
        metric.update(sample, prediction)
    return metric


def random_boxes(rng, count, low=4, high=150):
    corner = rng.uniform(0, 400 - high, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(low, high, (count, 2))], axis=1).astype(np.float32)


def scenes(seed, images, classes, levels=10**6, crowd=0.15, most=12):
    """Images with objects, some of them crowds with areas of their own, and detections near them or anywhere."""
    rng = np.random.default_rng(seed)
    for _ in range(images):
        boxes = random_boxes(rng, rng.integers(0, 6))
        if len(boxes) > 1 and rng.random() < 0.3:
            boxes[1] = boxes[0]  # two objects at one place
        labels, count = rng.integers(0, classes, len(boxes)), rng.integers(0, most)
        detections, guesses = random_boxes(rng, count), rng.integers(0, classes, count)
        if len(boxes):
            near = rng.random(count) < 0.7
            which = rng.integers(0, len(boxes), count)
            moved = boxes[which] + rng.normal(0, 4, (count, 4)) * (rng.random((count, 1)) < 0.8)
            moved = np.sort(moved.reshape(-1, 2, 2), axis=1).reshape(-1, 4)
            detections = np.where(near[:, None], moved, detections)
            guesses = np.where(near & (rng.random(count) < 0.8), labels[which], guesses)
        more = {}
        if rng.random() < 0.8:
            sides = boxes[:, 2:] - boxes[:, :2]
            more["areas"] = (sides.prod(axis=1) * rng.uniform(0.4, 1, len(boxes))).astype(np.float32)
            more["ignored"] = rng.random(len(boxes)) < crowd
        scores = rng.integers(0, levels, count) / levels
        yield labeled(boxes, labels, **more), predicted(detections, guesses, scores)


def quietly(work):
    with contextlib.redirect_stdout(io.StringIO()):
        return work()


def directly(images, annotations, results, categories):
    """COCOeval after pycocotools' own loading of files, with nothing of ours."""

    def work():
        target = COCO()
        target.dataset = {"images": images, "annotations": annotations, "categories": categories}
        target.createIndex()
        evaluation = COCOeval(target, target.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return evaluation

    return quietly(work)


def records(pairs):
    """The images as COCO's images, annotations and results."""
    images, annotations, results = [], [], []
    for number, (sample, prediction) in enumerate(pairs, 1):
        images.append({"id": number})
        boxes = sample.boxes.astype(float)
        areas = getattr(sample, "areas", None)
        crowd = getattr(sample, "ignored", None)
        for i, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": int(sample.classes[i]) + 1}
            annotation["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            annotation["area"] = (x2 - x1) * (y2 - y1) if areas is None else float(areas[i])
            annotation["iscrowd"] = 0 if crowd is None else int(crowd[i])
            annotations.append(annotation)
        for (x1, y1, x2, y2), kind, value in zip(
            prediction["boxes"].astype(float).tolist(), prediction["classes"], prediction["scores"], strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            results.append({"image_id": number, "category_id": int(kind) + 1, "bbox": box, "score": float(value)})
    return images, annotations, results


def check_equal(result, evaluation, names):
    expected = np.where(evaluation.stats < 0, np.nan, evaluation.stats)
    np.testing.assert_array_equal([result[name] for name in METRICS], expected)  # to the last digit
    for k, name in enumerate(names):
        precision = evaluation.eval["precision"][:, :, k, 0, -1]
        own = precision[precision > -1].mean() if (precision > -1).any() else np.nan
        np.testing.assert_allclose(result[f"ap/{name}"], own, rtol=1e-12)


@settings(max_examples=40)
@given(st.integers(1, 25), st.integers(1, 5), st.sampled_from([5, 10**6]), st.integers(0, 2**32 - 1))
def test_equals_pycocotools_called_directly(images, classes, levels, seed):
    """Crowds, areas, images without objects or without detections, equal scores, objects at one place."""
    data = list(scenes(seed, images, classes, levels))
    images, annotations, results = records(data)
    result = score(data, classes).result()
    if not annotations:
        assert np.isnan(list(result.values())).all()
        return
    if not results:  # pycocotools fails on no results at all
        if any(not annotation["iscrowd"] for annotation in annotations):
            assert result["ap"] == result["ap50"] == result["ar100"] == result["f1"] == 0
        return
    evaluation = directly(images, annotations, results, [{"id": i + 1} for i in range(classes)])
    check_equal(result, evaluation, [f"c{i}" for i in range(classes)])


def test_more_than_a_hundred_detections_an_image():
    data = list(scenes(3, 4, 1, most=400))
    assert max(len(prediction["scores"]) for _, prediction in data) > 200
    check_equal(score(data, 1).result(), directly(*records(data), [{"id": 1}]), ["c0"])


@pytest.mark.skipif(not MINI.is_dir(), reason="needs ../shared/data/coco-mini")
@pytest.mark.parametrize("part", ["train2017", "val2017"])
def test_equals_pycocotools_on_real_annotations(part):
    """The genuine JSON into pycocotools; the same objects as Samples into the metric."""
    path = MINI / f"annotations/instances_{part}.json"
    target = quietly(lambda: COCO(str(path)))
    numbers = {category: i for i, category in enumerate(target.getCatIds())}  # original ids have gaps
    names = [target.cats[category]["name"] for category in numbers]
    rng, metric, results = np.random.default_rng(0), Detection(names), []
    for number in target.getImgIds():
        entry, objects = target.imgs[number], target.imgToAnns[number]
        boxes = corners([o["bbox"] for o in objects])
        sample = labeled(
            np.minimum(boxes, np.tile([entry["width"], entry["height"]], 2)),
            [numbers[o["category_id"]] for o in objects],
            image=np.broadcast_to(np.uint8(0), (entry["height"], entry["width"], 3)),
            ignored=np.array([o["iscrowd"] for o in objects], bool),
            areas=np.array([o["area"] for o in objects], np.float32),
        )
        twice = np.repeat(boxes, 2, axis=0)
        moved = (twice + rng.normal(0, 0.08, twice.shape) * np.tile(twice[:, 2:] - twice[:, :2], 2)).astype(np.float32)
        moved = np.sort(moved.reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        kinds = np.repeat(sample.classes, 2)
        kinds = np.where(rng.random(len(kinds)) < 0.85, kinds, rng.integers(0, len(names), len(kinds)))
        prediction = predicted(moved, kinds, rng.random(len(kinds)))
        metric.update(sample, prediction)
        for (x1, y1, x2, y2), kind, value in zip(
            moved.astype(float).tolist(), kinds, prediction["scores"], strict=True
        ):
            box, category = [x1, y1, x2 - x1, y2 - y1], list(numbers)[kind]
            results.append({"image_id": number, "category_id": category, "bbox": box, "score": float(value)})
    assert any(a["iscrowd"] for a in target.anns.values())

    original = json.loads(path.read_text(encoding="utf-8"))
    evaluation = directly(original["images"], original["annotations"], results, original["categories"])
    result = metric.result()
    check_equal(result, evaluation, names)
    assert 0.2 < result["ap"] < result["ap50"] < 0.95


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="needs ../shared/data/cocoapi-results")
def test_gives_cocos_official_figures():
    """COCO's example results in the first hundred images of val2014, and the table that goes with them."""
    with open(Path(__file__).with_name("coco_val2014_100.csv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    detections = json.loads((OFFICIAL / "instances_val2014_fakebbox100_results.json").read_text(encoding="utf-8"))
    categories = sorted({int(row["category_id"]) for row in rows} | {one["category_id"] for one in detections})
    metric = Detection([f"c{category}" for category in categories])
    for number in sorted({int(row["image_id"]) for row in rows}):
        objects = [row for row in rows if int(row["image_id"]) == number]
        width, height = int(objects[0]["width"]), int(objects[0]["height"])
        sample = labeled(
            corners([[float(row[side]) for side in "xywh"] for row in objects]),
            [categories.index(int(row["category_id"])) for row in objects],
            image=np.broadcast_to(np.uint8(0), (height, width, 3)),
            ignored=np.array([row["iscrowd"] == "1" for row in objects]),
            areas=np.array([row["area"] for row in objects], np.float32),
        )
        here = [one for one in detections if one["image_id"] == number]
        classes = [categories.index(one["category_id"]) for one in here]
        boxes = corners([one["bbox"] for one in here])
        metric.update(sample, predicted(boxes, classes, [one["score"] for one in here]))
    table = (OFFICIAL / "val2014_fake_eval_res.txt").read_text(encoding="utf-8").split("type=bbox")[1].split("---")[0]
    printed = [line.split("= ")[-1] for line in table.splitlines() if " @[ " in line]
    result = metric.result()
    assert [f"{result[name]:.3f}" for name in METRICS] == printed


@pytest.mark.skipif(importlib.util.find_spec("faster_coco_eval") is None, reason="needs faster-coco-eval")
@pytest.mark.parametrize("seed", range(4))
def test_faster_coco_eval_gives_the_same(seed):
    data = list(scenes(seed, 20, 4, levels=(5, 10**6)[seed % 2]))
    ours, theirs = score(data, 4).result(), score(data, 4, backend="faster-coco-eval").result()
    np.testing.assert_equal(theirs, pytest.approx(ours, rel=1e-12, nan_ok=True))
    nothing = [(sample, predicted([], [], [])) for sample, _ in data]
    assert score(nothing, 4, backend="faster-coco-eval").result()["ap"] == 0


def test_a_backend_that_is_missing_is_named(monkeypatch):
    with pytest.raises(UserError, match="pycocotools, faster-coco-eval; got 'coco'"):
        Detection("ab", backend="coco")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install faster-coco-eval"):
        Detection("ab", backend="faster-coco-eval")


def test_the_ground_truth_scores_one():
    data = [(s, predicted(s.boxes, s.classes, np.full(len(s.classes), 0.9))) for s, _ in scenes(1, 20, 3, crowd=0)]
    metric = score(data, 3)
    result = metric.result()
    assert all(result[name] == pytest.approx(1) for name in ("ap", "ap50", "ar100", "voc07_ap50", "voc12_ap50", "f1"))
    assert result["f1_threshold"] == np.float32(0.9)
    assert (metric.confusion(0.5).counts == np.diag(metric.confusion(0.5).true)).all()


def test_the_first_object_counts():
    """pycocotools takes a match with the object of id 0 for no match."""
    one = [(labeled([10, 10, 50, 50], [0]), predicted([10, 10, 50, 50], [0], [0.7]))]
    assert score(one, 1).result()["ap"] == pytest.approx(1)


def test_no_detections_at_all_score_zero():
    metric = score([(sample, predicted([], [], [])) for sample, _ in scenes(0, 5, 2, crowd=0)], 2)
    result = metric.result()
    for name in ("ap", "ap50", "ar100", "voc07_ap50", "voc12_ap50", "f1"):
        assert result[name] == 0
    assert np.isnan(result["f1_threshold"])
    assert set(metric.charts()) == {"precision_recall", "confusion"}


@pytest.mark.parametrize("detections", [0, 3])
def test_without_objects_everything_is_nan(detections):
    rng = np.random.default_rng(0)
    prediction = predicted(random_boxes(rng, detections), [0] * detections, rng.random(detections))
    metric = score([(labeled([], []), prediction)] * detections, 2)
    assert np.isnan(list(metric.result().values())).all() and metric.charts() == {}


def test_unlabeled_images_count_nothing():
    data = list(scenes(0, 6, 2))
    metric, before = score(data, 2), score(data, 2).result()
    metric.update(Sample(image=IMAGE), predicted([0, 0, 9, 9], [0], [0.99]))
    metric.update(Sample(image=IMAGE, boxes=np.float32([[0, 0, 9, 9]])), predicted([0, 0, 9, 9], [0], [0.99]))
    np.testing.assert_equal(metric.result(), before)


def test_detections_in_an_image_without_objects_are_mistakes():
    right = (labeled([10, 10, 50, 50], [0]), predicted([10, 10, 50, 50], [0], [0.7]))
    wrong = (labeled([], []), predicted([10, 10, 50, 50], [0], [0.8]))
    result = score([right, wrong], 1).result()
    assert result["ap"] == result["voc12_ap50"] == pytest.approx(0.5)
    assert result["f1"] == pytest.approx(2 / 3) and result["f1_threshold"] == np.float32(0.7)


def test_a_result_in_between_is_of_what_came_so_far():
    data = list(scenes(5, 12, 2))
    metric = score(data[:6], 2)
    np.testing.assert_equal(metric.result(), score(data[:6], 2).result())
    for sample, prediction in data[6:]:
        metric.update(sample, prediction)
    np.testing.assert_equal(metric.result(), score(data, 2).result())


def matches_of(evaluation):
    """(score, matched) of every detection at IoU 0.5 that pycocotools does not ignore, all areas."""
    everything = evaluation.params.areaRng[0]
    for one in evaluation.evalImgs:
        if one is not None and one["aRng"] == everything:
            for value, match, ignored in zip(one["dtScores"], one["dtMatches"][0], one["dtIgnore"][0], strict=True):
                if not ignored:
                    yield value, match > 0


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 4), st.sampled_from([4, 10**6]), st.integers(0, 2**32 - 1))
def test_best_f1_is_that_of_pycocotools_matches(images, classes, levels, seed):
    data = list(scenes(seed, images, classes, levels))
    images, annotations, results = records(data)
    positives = sum(not a["iscrowd"] for a in annotations)
    if not results or not positives:
        return
    detections = list(matches_of(directly(images, annotations, results, [{"id": i + 1} for i in range(classes)])))
    f1 = {}
    for threshold in {value for value, _ in detections}:
        kept = [match for value, match in detections if value >= threshold]
        f1[threshold] = 2 * sum(kept) / (len(kept) + positives)
    metric = score(data, classes)
    result = metric.result()
    assert result["f1"] == pytest.approx(max(f1.values(), default=0))
    if not f1:
        return
    assert f1[result["f1_threshold"]] == max(f1.values())
    # the confusion matrix counts the same hits
    confusion = metric.confusion(result["f1_threshold"])
    kept = [match for value, match in detections if value >= result["f1_threshold"]]
    assert confusion.correct.sum() == sum(kept)
    assert confusion.counts[:, :-1].sum() == len(kept) and confusion.counts[:-1].sum() == positives


def test_confusion_by_hand():
    """A hit, an object detected as another class, one missed, one invented, a crowd, and one below the threshold."""
    objects = [[0, 0, 40, 40], [100, 0, 140, 40], [200, 0, 240, 40], [0, 200, 200, 300]]
    sample = labeled(objects, [0, 1, 1, 0], ignored=np.array([0, 0, 0, 1], bool))
    boxes = [objects[0], [102, 0, 142, 40], [300, 300, 340, 340], [20, 220, 60, 260], objects[2], objects[0]]
    detections = predicted(boxes, [0, 2, 2, 0, 1, 2], [0.9, 0.8, 0.7, 0.95, 0.2, 0.6])
    confusion = score([(sample, detections)], 3).confusion(0.5)
    expected = np.zeros((4, 4), int)
    expected[0, 0] = expected[1, 2] = expected[1, 3] = 1
    expected[3, 2] = 2  # the invented one, and a second detection of an object that has its own
    assert confusion.counts.tolist() == expected.tolist()
    assert confusion.names == ("c0", "c1", "c2", "background")


def test_a_class_that_is_not_known_in_an_image_is_not_scored_there():
    objects, boxes = [[0, 0, 40, 40], [100, 0, 140, 40]], [[0, 0, 40, 40], [200, 0, 240, 40], [100, 0, 140, 40]]
    found = predicted(boxes, [0, 1, 1], [0.9, 0.95, 0.8])  # the second is wrong, if class 1 is known there
    part = labeled(objects, [0, 1], known=np.array([True, False]))
    whole = (labeled(objects, [0, 1]), predicted(boxes[::2], [0, 1], [0.9, 0.8]))
    assert score([(part, found), whole], 2).result()["ap"] == pytest.approx(1)
    assert score([(part.replace(known=None), found), whole], 2).result()["ap"] < 0.9


def test_classes_beyond_the_models_are_named():
    with pytest.raises(DataError, match=r"classes of p: expected classes 0\.\.1, got 2"):
        Detection("ab").update(labeled([0, 0, 9, 9], [2]), predicted([], [], []))
    with pytest.raises(DataError, match=r"classes predicted of p: expected classes 0\.\.1, got -1"):
        Detection("ab").update(labeled([0, 0, 9, 9], [1]), predicted([0, 0, 9, 9], [-1], [0.5]))


def test_ragged_predictions_are_refused():
    with pytest.raises(ValueError, match=r"p: expected \(K, 4\), \(K,\), \(K,\); got \(2, 4\), \(1,\), \(1,\)"):
        Detection("ab").update(labeled([], []), predicted([[0, 0, 9, 9]] * 2, [1], [0.5]))


def test_pycocotools_is_silent(capfd):
    score(scenes(0, 4, 2), 2).result()
    assert capfd.readouterr() == ("", "")


def test_garbage_is_collected_again_afterwards():
    score(scenes(0, 4, 2), 2).result()
    assert gc.isenabled()


@pytest.mark.parametrize("classes", [1, 3, 12, 13, 90])
def test_the_curves_are_legible(classes):
    curves = np.sort(np.random.default_rng(0).random((101, classes)), axis=0)[::-1]
    curves[:, 0] = np.nan if classes > 1 else curves[:, 0]  # a class with nothing to find
    names = [f"a $class with a rather long_name, number {i}" for i in range(classes)]
    figure = precision_recall_figure(curves, names, "IoU ≥ 0.5")
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    texts = [*figure.legends[0].get_texts(), figure.axes[0].title, figure.axes[0].xaxis.label]
    assert len(texts) == 3 + min(12, max(1, classes - 1))
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()
    assert figure.legends[0].get_texts()[0].get_text() == f"mean {np.nanmean(curves):.3f}"


@pytest.mark.parametrize("classes", [1, 3])
def test_the_confusions_title_is_not_cut_off(classes):
    data = list(scenes(2, 10, classes))
    for pairs in (data, [(sample, predicted([], [], [])) for sample, _ in data]):
        figure = score(pairs, classes).charts()["confusion"]
        figure.draw_without_rendering()
        box = figure.axes[0].title.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height


def test_of_one_class_the_hits_errors_and_misses_are_counted():
    objects = [[0, 0, 40, 40], [100, 0, 140, 40], [200, 0, 240, 40]]
    boxes = [objects[0], objects[1], [300, 300, 340, 340], [20, 220, 60, 260]]
    detections = predicted(boxes, [0] * 4, [0.9, 0.5, 0.7, 0.1])
    axes = score([(labeled(objects, [0] * 3), detections)], 1).charts()["confusion"].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [2, 1, 1]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["true positives", "false positives", "false negatives"]
    assert "precision 0.667, recall 0.667" in axes.get_title() and "score ≥ 0.5" in axes.get_title()


def test_the_charts_state_what_they_show():
    metric = score(scenes(2, 10, 3), 3)
    charts = metric.charts()
    title = charts["confusion"].axes[0].get_title()
    assert f"{metric.result()['f1_threshold']:.3g}" in title and "0.5" in title
    lines = charts["precision_recall"].axes[0].get_lines()
    mean = max(lines, key=lambda line: line.get_linewidth())
    assert mean.get_ydata().mean() == pytest.approx(metric.result()["ap50"])
