"""The metric of poses: COCO's figures against pycocotools, the others against slow loops."""

import contextlib
import dataclasses
import io
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from visiontasks.evaluation.metrics.coco import KEYPOINT_METRICS
from visiontasks.evaluation.metrics.pose import Pose
from visiontasks.ops.numpy_keypoints import FILLED, boxes_around
from visiontasks.sample import Sample
from visiontasks.skeleton import COCO_PERSON, Skeleton

DATA = Path(__file__).resolve().parents[3] / "../shared/data"
RESULTS = DATA / "cocoapi-results/results/person_keypoints_val2014_fakekeypoints100_results.json"
IMAGE = np.zeros((300, 300, 3), np.uint8)
LSP = Skeleton(
    ["r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "r_wrist", "r_elbow", "r_shoulder", "l_shoulder"]
    + ["l_elbow", "l_wrist", "neck", "head_top"]
)
MOUSE = Skeleton(["snout", "leftear", "rightear", "tailbase"], sigmas=[0.03, 0.1, 0.1, 0.2])
SKELETONS = {"17": COCO_PERSON, "14": LSP, "4": MOUSE}


def scenes(seed, skeleton, images=8, classes=1):
    """(Sample, prediction) of random poses: crowds, people without labeled keypoints, detections near them or not."""
    rng, count = np.random.default_rng(seed), len(skeleton)
    for number in range(images):
        people, found = rng.integers(0, 6), rng.integers(0, 30 if number == 1 else 8)
        points = np.zeros((people, count, 3), np.float32)
        points[..., :2] = rng.uniform(20, 280, (people, 1, 2)) + rng.normal(0, rng.uniform(5, 40), (people, count, 2))
        points[..., :2] = points[..., :2].clip(0, 300)
        points[..., 2] = rng.integers(0, 3, (people, count))
        points[rng.random(people) < 0.2] = 0
        points[points[..., 2] == 0] = 0
        boxes = boxes_around(points, points[..., 2] > 0)
        boxes[:, 2:] += 5
        boxes[boxes_around(points, points[..., 2] > 0).sum(axis=1) == 0] = [10, 20, 90, 120]
        boxes = boxes.clip(0, 300).astype(np.float32)
        kinds = rng.integers(0, classes, people)
        ignored = (points[..., 2] == 0).all(axis=1) & (rng.random(people) < 0.5)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * rng.uniform(0.3, 0.8, people).astype(np.float32)
        sample = Sample(
            IMAGE, boxes=boxes, classes=kinds, keypoints=points, ignored=ignored, areas=areas, id=f"{number}"
        )
        guesses = np.full((found, count, 3), 0.5, np.float32)
        guesses[..., :2] = rng.uniform(20, 280, (found, 1, 2)) + rng.normal(0, 20, (found, count, 2))
        labels = rng.integers(0, classes, found)
        if people:
            which, near = rng.integers(0, people, found), rng.random(found) < 0.7
            moved = points[which] + rng.normal(0, 5, (found, count, 3)) * rng.uniform(0, 2, (found, 1, 1))
            guesses = np.where(near[:, None, None], moved, guesses)
            labels = np.where(near & (rng.random(found) < 0.9), kinds[which], labels)
        guesses[..., 2] = rng.random((found, count))
        around = boxes_around(guesses, np.ones((found, count), bool)).astype(np.float32)
        yield (
            sample,
            {
                "boxes": around.clip(0, 300),
                "scores": rng.integers(0, 20, found).astype(np.float32) / 20,
                "classes": labels.astype(np.int32),
                "keypoints": guesses.astype(np.float32),
            },
        )


def pose(pairs, skeleton, classes=1):
    metric = Pose([f"c{i}" for i in range(classes)], skeleton)
    for sample, prediction in pairs:
        metric.update(sample, prediction)
    return metric


def coco_s(pairs, skeleton, classes):
    """pycocotools' stats, of a file as COCO writes it and of results read by `loadRes`."""
    truth, results = [], []
    for number, (sample, prediction) in enumerate(pairs, start=1):
        for row in range(len(sample.boxes)):
            x1, y1, x2, y2 = sample.boxes[row].tolist()
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": number,
                    "category_id": int(sample.classes[row]) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(sample.areas[row]),
                    "iscrowd": int(sample.ignored[row]),
                    "keypoints": sample.keypoints[row].ravel().tolist(),
                    "num_keypoints": int((sample.keypoints[row, :, 2] > 0).sum()),
                }
            )
        for points, score, kind in zip(*(prediction[k] for k in ("keypoints", "scores", "classes")), strict=True):
            entry = {"image_id": number, "category_id": int(kind) + 1, "score": float(score)}
            results.append({**entry, "keypoints": points.ravel().tolist()})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": n} for n in range(1, len(pairs) + 1)],
            "annotations": truth,
            "categories": [{"id": n + 1} for n in range(classes)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.mark.parametrize("name", SKELETONS)
@pytest.mark.parametrize(("seed", "classes"), [(0, 1), (1, 1), (2, 3)])
def test_ap_and_ar_are_pycocotools(name, seed, classes):
    skeleton = SKELETONS[name]
    pairs = list(scenes(seed, skeleton, classes=classes))
    result = pose(pairs, skeleton, classes).result()
    expected = [np.nan if value == -1 else value for value in coco_s(pairs, skeleton, classes)]
    got = [result[f"keypoint_{metric}"] for metric in KEYPOINT_METRICS]
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert 0 < result["keypoint_ap"] < 1
    if classes > 1:
        assert np.nanmean([result[f"keypoint_ap/c{n}"] for n in range(classes)]) == pytest.approx(result["keypoint_ap"])


def rows_of(pair, keep, people):
    """An update with some of an image's detections, and its people or none."""
    sample, prediction = pair
    if not people:
        empty = {name: getattr(sample, name)[:0] for name in ("boxes", "classes", "keypoints", "ignored", "areas")}
        sample = dataclasses.replace(sample, **empty)
    return sample, {name: value[keep] for name, value in prediction.items()}


def test_several_updates_of_an_image_are_one():
    pairs = list(scenes(3, LSP))
    once, parts = pose(pairs, LSP).result(), Pose(["c0"], LSP)
    for pair in pairs:  # the detections of the second half come later
        half = np.arange(len(pair[1]["scores"])) < 3
        parts.update(*rows_of(pair, half, True))
    for pair in pairs:
        parts.update(*rows_of(pair, np.arange(len(pair[1]["scores"])) >= 3, False))
    again = parts.result()
    for name in KEYPOINT_METRICS:
        np.testing.assert_allclose(again[f"keypoint_{name}"], once[f"keypoint_{name}"], rtol=1e-12)


def slow_single(pairs, skeleton):
    """{metric: [(keypoint, value)]}, and (score, whether near) of each; people are matched by trying all ways."""
    values, calibration = {}, []
    sigmas = np.array(skeleton.sigmas)
    shoulder, hip = (skeleton.index(name) for name in ("l_shoulder", "r_hip"))
    neck, top = skeleton.index("neck"), skeleton.index("head_top")

    def alike(points, person, area):
        labeled = person[:, 2] > 0
        squares = ((points[:, :2] - person[:, :2]) ** 2).sum(axis=1)
        parts = np.exp(-squares / (2 * area * (2 * sigmas) ** 2))
        return parts[labeled].mean() + 1e-9 / (1 + np.sqrt(squares)[labeled].mean())  # of equal ones the nearest

    for sample, prediction in pairs:
        people = [
            n for n in range(len(sample.boxes)) if (sample.keypoints[n, :, 2] > 0).any() and not sample.ignored[n]
        ]
        found = list(range(len(prediction["scores"])))
        slots = found + [None] * len(people)
        table = {
            (n, f): alike(np.float64(prediction["keypoints"][f]), np.float64(sample.keypoints[n]), sample.areas[n])
            for n in people
            for f in found
        }
        best = max(
            itertools.permutations(slots, len(people)),
            key=lambda way: sum(table[n, f] for n, f in zip(people, way, strict=True) if f is not None),
        )
        for n, f in zip(people, best, strict=True):
            person = np.float64(sample.keypoints[n])
            torso = np.hypot(*(person[shoulder, :2] - person[hip, :2])) if person[[shoulder, hip], 2].all() else None
            head = np.hypot(*(person[neck, :2] - person[top, :2])) if person[[neck, top], 2].all() else None
            for k in np.flatnonzero(person[:, 2]):
                near = np.inf
                if f is not None:
                    point = np.float64(prediction["keypoints"][f, k])
                    near = np.hypot(*(point[:2] - person[k, :2]))
                    values.setdefault("error_px", []).append((k, near))
                    values.setdefault("error", []).append((k, near / np.sqrt(sample.areas[n])))
                    part = np.exp(-(near**2) / (2 * sample.areas[n] * (2 * sigmas[k]) ** 2))
                    calibration.append((point[2], part >= 0.5))
                for name, length, share in (("pck", torso, 0.2), ("pckh", head, 0.5)):
                    if length:
                        values.setdefault(name, []).append((k, near <= share * length))
    return values, calibration


def few(seed):
    """Scenes with at most four detections, because the slow loop tries all ways."""
    for pair in scenes(seed, LSP, images=10):
        yield rows_of(pair, np.arange(len(pair[1]["scores"])) < 4, True)


@pytest.mark.parametrize("seed", range(3))
def test_single_keypoints_against_slow_loops(seed):
    pairs = list(few(seed))
    result = pose(pairs, LSP).result()
    values, calibration = slow_single(pairs, LSP)
    for name, rows in values.items():
        numbers, each = zip(*rows, strict=True)
        assert result[name] == pytest.approx(np.mean(each), rel=1e-6), name
        for k, keypoint in enumerate(LSP):
            own = [value for number, value in zip(numbers, each, strict=True) if number == k]
            np.testing.assert_allclose(result[f"{name}/{keypoint}"], np.mean(own) if own else np.nan, rtol=1e-6)
    error = 0
    for low in np.arange(10) / 10:
        bin_ = [(score, near) for score, near in calibration if low <= score < low + 0.1 or (low == 0.9 and score == 1)]
        error += abs(sum(s for s, _ in bin_) - sum(n for _, n in bin_)) / len(calibration)
    assert result["calibration_error"] == pytest.approx(error, abs=1e-6)


def test_skeletons_without_a_torso_or_a_head_have_other_scales():
    result = pose(scenes(0, MOUSE), MOUSE).result()
    assert {"pck_box", "pck_box/snout", "error", "error_px"} <= result.keys() and not {"pck", "pckh"} & result.keys()
    assert "pckh" not in pose(scenes(0, COCO_PERSON), COCO_PERSON).result()
    keypoints = np.float32([[[10, 10, 2], [50, 10, 2], [10, 90, 2], [50, 90, 0]]])
    sample = Sample(IMAGE, boxes=np.float32([[0, 0, 60, 100]]), classes=np.int32([0]), keypoints=keypoints)
    moved = keypoints + np.float32([[[19.9, 0, 0], [20.1, 0, 0], [0, 20, 0], [0, 0, 0]]])
    prediction = {"boxes": sample.boxes, "classes": sample.classes, "scores": np.float32([1]), "keypoints": moved}
    result = pose([(sample, prediction)], MOUSE).result()
    assert result["pck_box"] == pytest.approx(2 / 3) and result["pck_box/leftear"] == 0  # a fifth of 100
    assert result["error"] == pytest.approx(20 / np.sqrt(FILLED * 6000), rel=1e-5)


def test_people_whom_nothing_is_near_get_the_nearest():
    """Where OKS is 0 to all digits, any match would do for it, but not for the error."""
    keypoints = np.float32([[[x + 5 * k, y, 2] for k in range(4)] for x, y in ((10, 10), (10, 200), (200, 10))])
    boxes = np.concatenate([keypoints[:, 0, :2], keypoints[:, -1, :2] + 4], axis=1)
    sample = Sample(IMAGE, boxes=boxes, classes=np.zeros(3, np.int32), keypoints=keypoints)
    moved = (keypoints + np.float32([0, 60, 0]))[[1, 2, 0]]
    prediction = {"boxes": boxes, "classes": sample.classes, "scores": np.ones(3, np.float32), "keypoints": moved}
    assert pose([(sample, prediction)], MOUSE).result()["error_px"] == pytest.approx(60)


@pytest.mark.parametrize("empty", ["detections", "people", "both"])
def test_nothing_found_or_nothing_to_find(empty):
    sample, prediction = next(pair for pair in scenes(0, LSP) if len(pair[0].boxes) > 2 and len(pair[1]["scores"]))
    sample = dataclasses.replace(sample, keypoints=np.maximum(sample.keypoints, np.float32([0, 0, 1])))
    none = np.zeros(len(prediction["scores"]), bool)
    pair = rows_of((sample, prediction), none if empty != "people" else ~none, empty == "detections")
    metric = pose([pair], LSP)
    result = metric.result()
    if empty == "detections":  # item 37
        assert result["keypoint_ap"] == result["pck"] == result["pckh"] == 0 and np.isnan(result["error"])
    else:
        assert np.isnan(result["keypoint_ap"]) and np.isnan(result["pck"])
    assert np.isnan(result["calibration_error"]) and isinstance(metric.charts(), dict)


def test_a_perfect_prediction_is_perfect_and_calibrated():
    pairs = [(sample, prediction) for sample, prediction in scenes(0, LSP) if len(sample.boxes)]
    for sample, prediction in pairs:
        scores = np.ones(len(sample.boxes), np.float32)
        prediction.update(boxes=sample.boxes, classes=sample.classes, scores=scores)
        prediction["keypoints"] = np.concatenate(
            [sample.keypoints[..., :2], np.ones((*sample.keypoints.shape[:2], 1))], 2
        )
    metric = pose(pairs, LSP)
    result = metric.result()
    assert result["keypoint_ap"] == result["pck"] == result["pckh"] == pytest.approx(1)
    assert result["error"] == result["calibration_error"] == 0
    assert {"keypoints", "calibration"} <= metric.charts().keys()


def test_another_number_of_keypoints_is_an_error():
    sample, prediction = next(scenes(0, LSP))
    with pytest.raises(ValueError, match="keypoints of 0: expected 4, as the model predicts, got 14"):
        Pose(["c0"], MOUSE).update(sample, prediction)


@pytest.mark.skipif(not RESULTS.is_file(), reason="needs ../shared/data/cocoapi-results")
def test_gives_cocos_official_figures():
    """COCO's example results in the first hundred images of val2014, and the table that goes with them."""
    truth = next(DATA.rglob("person_keypoints_val2014.json"), None)
    if truth is None:
        pytest.skip("needs COCO's person_keypoints_val2014.json below ../shared/data")
    data, results = json.loads(truth.read_text(encoding="utf-8")), json.loads(RESULTS.read_text(encoding="utf-8"))
    metric = Pose(["person"], COCO_PERSON)
    for image in sorted(data["images"], key=lambda image: image["id"])[:100]:
        people = [one for one in data["annotations"] if one["image_id"] == image["id"]]
        found = [one for one in results if one["image_id"] == image["id"]]
        x, y, width, height = np.array([one["bbox"] for one in people]).reshape(-1, 4).T
        points = np.float32([one["keypoints"] for one in found]).reshape(-1, 17, 3)
        sample = Sample(
            np.zeros((image["height"], image["width"], 3), np.uint8),
            boxes=np.stack([x, y, x + width, y + height], axis=1).astype(np.float32),
            classes=np.zeros(len(people), np.int32),
            keypoints=np.float32([one["keypoints"] for one in people]).reshape(-1, 17, 3),
            ignored=np.array([one["iscrowd"] == 1 for one in people], bool),
            areas=np.float32([one["area"] for one in people]),
            id=str(image["id"]),
        )
        prediction = {
            "boxes": boxes_around(points, np.ones(points.shape[:2], bool)).astype(np.float32),
            "scores": np.float32([one["score"] for one in found]),
            "classes": np.zeros(len(found), np.int32),
            "keypoints": points,
        }
        metric.update(sample, prediction)
    table = RESULTS.with_name("val2014_fake_eval_res.txt").read_text(encoding="utf-8").split("type=keypoints")[1]
    printed = [line.split("= ")[-1] for line in table.splitlines() if " @[ " in line]
    result = metric.result()
    assert [f"{result[f'keypoint_{name}']:.3f}" for name in KEYPOINT_METRICS] == printed
