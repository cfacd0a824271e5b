"""Matching against slow loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from visiontasks.ops import boxes as box_ops
from visiontasks.ops import matching


def drawn(seed, truths=5, anchors=12):
    rng = np.random.default_rng(seed)
    overlaps = rng.random((truths, anchors)).astype("float32") * (rng.random((truths, anchors)) < 0.7)
    return overlaps, rng.random(truths) < 0.7


def slow(overlaps, valid, high, low, rescue):
    truths, found = np.flatnonzero(valid), []
    for a in range(overlaps.shape[1]):
        if not len(truths):
            found.append(matching.BACKGROUND)
            continue
        best = truths[np.argmax(overlaps[truths, a])]
        value = overlaps[best, a]
        match = best if value >= high else matching.BACKGROUND if value < low else matching.IGNORED
        if rescue and any(overlaps[g, a] > 0 and overlaps[g, a] == overlaps[g].max() for g in truths):
            match = best
        found.append(match)
    return np.array(found)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_by_threshold(seed, rescue):
    overlaps, valid = drawn(seed)
    got = matching.by_threshold(overlaps, valid, 0.7, 0.3, rescue)
    np.testing.assert_array_equal(ops.convert_to_numpy(got), slow(overlaps, valid, 0.7, 0.3, rescue))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_bipartite(seed):
    overlaps, valid = drawn(seed)
    expected = slow(overlaps, valid, 0.5, 0.5, False)
    for truth in np.flatnonzero(valid):
        expected[np.argmax(overlaps[truth])] = truth
    np.testing.assert_array_equal(ops.convert_to_numpy(matching.bipartite(overlaps, valid, 0.5)), expected)


def test_a_batch_is_its_pictures():
    one, two = drawn(1), drawn(2)
    overlaps, valid = (np.stack(pair) for pair in zip(one, two, strict=True))
    both = ops.convert_to_numpy(matching.bipartite(overlaps, valid, 0.5))
    for row, (o, v) in zip(both, (one, two), strict=True):
        np.testing.assert_array_equal(row, ops.convert_to_numpy(matching.bipartite(o, v, 0.5)))


def test_nearest_is_by_overlap():
    rng = np.random.default_rng(4)
    corners = rng.uniform(0, 60, (2, 30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (2, 30, 2))], -1).astype("float32")
    valid = rng.random((2, 5)) < 0.7
    got = matching.nearest(boxes[:, :5], valid, boxes[:, 5:], high=0.5, low=0.3, rescue=True)
    expected = matching.by_threshold(box_ops.iou(boxes[:, :5], boxes[:, 5:]), valid, 0.5, 0.3, True)
    np.testing.assert_array_equal(ops.convert_to_numpy(got), ops.convert_to_numpy(expected))


def test_take_gives_each_anchor_its_truth():
    boxes = np.arange(24, dtype="float32").reshape(2, 3, 4)
    matches = np.int32([[2, -1, 0, 0], [1, 1, -2, 2]])
    got = ops.convert_to_numpy(matching.take(boxes, matches))
    np.testing.assert_array_equal(got, boxes[[[0], [1]], np.maximum(matches, 0)])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(matching.take(np.int32([[7, 8, 9]] * 2), matches)), [[9, 7, 7, 7], [8, 8, 7, 9]]
    )
