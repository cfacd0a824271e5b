"""Suppression against the greedy loop, and the final boxes against a slow detector's end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from visiontasks.ops import nms

OTHER_BLOCKS = [pytest.param(size, marks=pytest.mark.other_values) for size in (64, 512)]


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def greedy(boxes, threshold, valid):
    kept = []
    for i in range(len(boxes)):
        if valid[i] and all(iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return np.isin(np.arange(len(boxes)), kept)


def drawn(rng, count, spread=100):
    corners = rng.uniform(0, spread, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(5, 60, (count, 2))], 1).astype("float32")


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 7, 40]), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_keeps_what_the_greedy_loop_keeps(seed, count, threshold):
    rng = np.random.default_rng(seed)
    boxes, scores = drawn(rng, count), -np.sort(-rng.random(count)).astype("float32")
    valid = rng.random(count) < 0.8
    got = ops.convert_to_numpy(nms.suppress(boxes, scores, threshold, valid))
    np.testing.assert_array_equal(got, greedy(boxes, threshold, valid))


@pytest.mark.other_values
def test_a_long_chain_is_decided_from_its_beginning():
    """Each box overlaps its neighbors alone: every other one stays, and the last waits for all before."""
    boxes = np.float32([[6 * i, 0, 6 * i + 10, 10] for i in range(41)])
    kept = ops.convert_to_numpy(nms.suppress(boxes, np.linspace(1, 0.1, 41).astype("float32"), 0.2))
    np.testing.assert_array_equal(kept, np.arange(41) % 2 == 0)


@pytest.mark.other_values
def test_leading_axes_do_not_meet():
    rng = np.random.default_rng(0)
    boxes, scores = drawn(rng, 20), -np.sort(-rng.random(20)).astype("float32")
    other = drawn(rng, 20)
    both = ops.convert_to_numpy(nms.suppress(np.stack([boxes, other]), np.stack([scores] * 2), 0.4))
    np.testing.assert_array_equal(both[0], greedy(boxes, 0.4, np.ones(20, bool)))
    np.testing.assert_array_equal(both[1], greedy(other, 0.4, np.ones(20, bool)))


@pytest.mark.other_values
def test_groups_do_not_meet():
    rng = np.random.default_rng(2)
    boxes, groups = drawn(rng, 60), rng.integers(0, 3, 60).astype("int32")
    kept = ops.convert_to_numpy(nms.suppress(boxes, np.linspace(1, 0.1, 60).astype("float32"), 0.3, None, groups))
    expected = np.zeros(60, bool)
    for group in range(3):
        expected[groups == group] = greedy(boxes[groups == group], 0.3, np.ones((groups == group).sum(), bool))
    np.testing.assert_array_equal(kept, expected)
    assert kept.sum() > greedy(boxes, 0.3, np.ones(60, bool)).sum()


@pytest.mark.parametrize("block", [7, *OTHER_BLOCKS])
@pytest.mark.parametrize(("count", "threshold"), [(5, 0.0), (40, 0.6), (300, 0.0)])
def test_block_by_block_it_is_the_same(block, count, threshold):
    """Candidates in any order, some of no score; more and fewer than are asked for."""
    rng = np.random.default_rng(3)
    boxes = np.stack([drawn(rng, 150), drawn(rng, 150, 300)])
    scores, groups = rng.random((2, 150)).astype("float32"), rng.integers(0, 3, (2, 150)).astype("int32")
    scores[0, ::5] = -np.inf
    arguments = {"score_threshold": threshold, "iou_threshold": 0.3, "count": count, "block": block}
    got = {key: ops.convert_to_numpy(value) for key, value in nms.grouped(boxes, scores, groups, **arguments).items()}
    for i in range(2):
        expected = []
        for group in range(3):
            own = np.flatnonzero(groups[i] == group)
            own = own[np.argsort(-scores[i, own], kind="stable")]
            expected += list(own[greedy(boxes[i, own], 0.3, scores[i, own] > threshold)])
        expected = sorted(expected, key=lambda place: -scores[i, place])[:count]
        assert got["valid"][i].sum() == len(expected) > 0
        assert got["valid"][i, : len(expected)].all()
        np.testing.assert_array_equal(got["boxes"][i, : len(expected)], boxes[i, expected])
        np.testing.assert_array_equal(got["scores"][i, : len(expected)], scores[i, expected])
        np.testing.assert_array_equal(got["classes"][i, : len(expected)], groups[i, expected])
        assert not got["boxes"][i, len(expected) :].any() and not got["scores"][i, len(expected) :].any()


def detections(boxes, scores, candidates, **bounds):
    """The final boxes (B, count) of boxes (B, A, 4) with scores (B, A, C), at most `candidates` of each class."""
    scores, rows, classes = nms.best_of_each_class(scores, candidates)
    got = nms.grouped(nms.gather(boxes, rows), scores, classes, **bounds)
    return {key: ops.convert_to_numpy(value) for key, value in got.items()}


def slow_detections(boxes, scores, score_threshold, iou_threshold, candidates, count):
    result = []
    for label in range(scores.shape[1]):
        order = np.argsort(-scores[:, label], kind="stable")[:candidates]
        kept = greedy(boxes[order], iou_threshold, scores[order, label] > score_threshold)
        result += [(scores[i, label], i, label) for i in order[kept]]
    return sorted(result, key=lambda f: -f[0])[:count]


@pytest.mark.parametrize(("count", "candidates"), [(10, 15), (100, 1000)])
def test_final_boxes(count, candidates):
    rng = np.random.default_rng(1)
    boxes = np.stack([drawn(rng, 30), drawn(rng, 30, 400)])
    scores = rng.random((2, 30, 3)).astype("float32") ** 2
    arguments = dict(score_threshold=0.2, iou_threshold=0.3, candidates=candidates, count=count)
    got = detections(boxes, scores, **arguments)
    assert {key: value.shape for key, value in got.items()} == {
        "boxes": (2, count, 4),
        "scores": (2, count),
        "classes": (2, count),
        "valid": (2, count),
    }
    for i in range(2):
        expected = slow_detections(boxes[i], scores[i], **arguments)
        assert got["valid"][i].sum() == len(expected) > 0
        assert got["valid"][i, : len(expected)].all()
        for j, (score, place, number) in enumerate(expected):
            assert got["scores"][i, j] == score and got["classes"][i, j] == number
            np.testing.assert_array_equal(got["boxes"][i, j], boxes[i, place])
        assert not got["boxes"][i, len(expected) :].any() and not got["scores"][i, len(expected) :].any()


@pytest.mark.parametrize("count", [4, 100])
def test_best_pairs(count):
    scores = np.random.default_rng(0).random((2, 5, 3)).astype("float32")
    values, anchors, classes = (ops.convert_to_numpy(x) for x in nms.best_pairs(scores, count))
    for i in range(2):
        expected = np.argsort(-scores[i].ravel(), kind="stable")[:count]
        np.testing.assert_array_equal(anchors[i] * 3 + classes[i], expected)
        np.testing.assert_array_equal(values[i], scores[i].ravel()[expected])


@pytest.mark.parametrize("block", [7, OTHER_BLOCKS[1]])
def test_boxes_of_every_class_suppress_each_other_where_that_is_asked_for(block):
    rng = np.random.default_rng(5)
    boxes, scores = drawn(rng, 80), np.sort(rng.random(80).astype("float32"))[::-1].copy()
    classes = rng.integers(0, 3, (1, 80)).astype("int32")
    arguments = dict(score_threshold=0.1, iou_threshold=0.3, count=60, block=block)
    got = nms.grouped(boxes[None], scores[None], classes, agnostic=True, **arguments)
    expected = np.flatnonzero(greedy(boxes, 0.3, scores > 0.1))
    valid = ops.convert_to_numpy(got["valid"])[0]
    assert valid.sum() == len(expected) < 60 and len(set(classes[0, expected])) == 3
    np.testing.assert_array_equal(ops.convert_to_numpy(got["boxes"])[0][valid], boxes[expected])
    np.testing.assert_array_equal(ops.convert_to_numpy(got["classes"])[0][valid], classes[0, expected])


@pytest.mark.other_values
def test_nothing_above_the_threshold_is_nothing():
    got = detections(
        np.ones((1, 4, 4), "float32"),
        np.zeros((1, 4, 2), "float32"),
        score_threshold=0.5,
        iou_threshold=0.5,
        candidates=4,
        count=3,
    )
    assert not got["valid"].any() and np.isfinite(got["scores"]).all()


def test_classes_never_suppress_each_other_however_large_the_image():
    """Where classes are kept apart by an offset in half precision, boxes of 4000 pixels collide."""
    boxes = np.float32([[[0, 0, 4000, 4000], [1, 1, 4000, 4000]]])
    scores = np.float32([[[0.9, 0.0], [0.0, 0.8]]])
    got = detections(boxes, scores, score_threshold=0.5, iou_threshold=0.5, candidates=2, count=2)
    np.testing.assert_array_equal(got["classes"], [[0, 1]])
    np.testing.assert_array_equal(got["boxes"], boxes)
