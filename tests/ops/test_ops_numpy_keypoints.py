"""Keypoints in NumPy: similarity as pycocotools computes it, and boxes around points."""

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from visiontasks.ops.numpy_keypoints import boxes_around, oks, similarity
from visiontasks.skeleton import COCO_PERSON


def coco_s_oks(points, others, areas, sigmas, counted):
    """pycocotools' computeOks of the detections `points` and the people `others` of one image."""
    evaluation = COCOeval(iouType="keypoints")
    evaluation.params.kpt_oks_sigmas = np.asarray(sigmas)
    evaluation.params.imgIds, evaluation.params.catIds = [1], [1]
    truth = []
    for row, area, seen in zip(others, areas, counted, strict=True):
        keypoints = np.concatenate([row[:, :2], 2.0 * seen[:, None]], axis=1).ravel().tolist()
        truth.append({"keypoints": keypoints, "area": float(area), "bbox": [0, 0, 1, 1]})
    found = [
        {"keypoints": np.float64(row).ravel().tolist(), "score": -float(number)} for number, row in enumerate(points)
    ]
    evaluation._gts[1, 1], evaluation._dts[1, 1] = truth, found
    return evaluation.computeOks(1, 1)


@pytest.mark.parametrize("count", [17, 14, 4])
@pytest.mark.parametrize("seed", range(3))
def test_oks_is_pycocotools(count, seed):
    rng = np.random.default_rng(seed)
    sigmas = COCO_PERSON.sigmas if count == 17 else rng.uniform(0.02, 0.2, count)
    others = rng.uniform(0, 200, (5, count, 2))
    points = others[rng.integers(0, 5, 7)] + rng.normal(0, 6, (7, count, 2))
    points = np.concatenate([points, np.ones((7, count, 1))], axis=2)
    counted = rng.random((5, count)) < 0.6
    counted[:, 0] = True  # without a labeled keypoint pycocotools measures by the box
    areas = rng.uniform(100, 20_000, 5)
    got = oks(points, others, areas, sigmas, counted)
    np.testing.assert_allclose(got, coco_s_oks(points, others, areas, sigmas, counted), rtol=1e-9, atol=1e-12)


def test_oks_of_nothing():
    nothing = np.zeros((0, 3, 3))
    some, areas = np.ones((2, 3, 3)), np.ones(2)
    assert oks(nothing, some, areas, [0.1] * 3, np.ones((2, 3), bool)).shape == (0, 2)
    assert oks(some, nothing, areas[:0], [0.1] * 3, np.ones((0, 3), bool)).shape == (2, 0)
    assert oks(some, some, areas, [0.1] * 3, np.zeros((2, 3), bool)).tolist() == [[0, 0], [0, 0]]
    assert oks(some, some, areas * 0, [0.1] * 3, np.ones((2, 3), bool)).tolist() == [[1, 1], [1, 1]]


def test_similarity_is_a_half_where_it_says():
    away = 2 * 0.1 * np.sqrt(2 * np.log(2) * 400.0)
    near = similarity(np.array([[away, 0, 1]]), np.zeros((1, 3)), np.array([400.0]), [0.1])
    np.testing.assert_allclose(near, [0.5])


def test_boxes_around_the_counted_points():
    points = np.float32([[[3, 9, 2], [7, 1, 1], [99, 99, 0]], [[5, 6, 2], [0, 0, 0], [0, 0, 0]], np.ones((3, 3))])
    boxes = boxes_around(points, np.array([[True, True, False], [True, False, False], [False] * 3]))
    assert boxes.tolist() == [[3, 1, 7, 9], [5, 6, 5, 6], [0, 0, 0, 0]] and boxes.dtype == np.float64
    assert boxes_around(points[:0], np.zeros((0, 3), bool)).shape == (0, 4)
