"""Matching against slow loops."""

import numpy as np
import pytest
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
    truths, matches = np.flatnonzero(valid), []
    for a in range(overlaps.shape[1]):
        if not len(truths):
            matches.append(matching.BACKGROUND)
            continue
        best = truths[np.argmax(overlaps[truths, a])]
        value = overlaps[best, a]
        match = best if value >= high else matching.BACKGROUND if value < low else matching.IGNORED
        if rescue and any(overlaps[g, a] > 0 and overlaps[g, a] == overlaps[g].max() for g in truths):
            match = best
        matches.append(match)
    return np.array(matches)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.booleans())
def test_by_threshold(seed, rescue):
    overlaps, valid = drawn(seed)
    got = matching.by_threshold(overlaps, valid, 0.7, 0.3, rescue)
    np.testing.assert_array_equal(ops.convert_to_numpy(got), slow(overlaps, valid, 0.7, 0.3, rescue))


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_bipartite(seed):
    overlaps, valid = drawn(seed)
    expected = slow(overlaps, valid, 0.5, 0.5, False)
    for truth in np.flatnonzero(valid):
        expected[np.argmax(overlaps[truth])] = truth
    np.testing.assert_array_equal(ops.convert_to_numpy(matching.bipartite(overlaps, valid, 0.5)), expected)


@pytest.mark.other_values
def test_a_batch_is_its_images():
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
    ignored = ~valid & (rng.random((2, 5)) < 0.7)
    got = matching.nearest(boxes[:, :5], valid, boxes[:, 5:], ignored, high=0.5, low=0.3, rescue=True)
    expected = matching.by_threshold(box_ops.iou(boxes[:, :5], boxes[:, 5:]), valid, 0.5, 0.3, True)
    expected = matching.ignore(expected, boxes[:, :5], ignored, boxes[:, 5:])
    np.testing.assert_array_equal(ops.convert_to_numpy(got), ops.convert_to_numpy(expected))


def test_take_gives_each_anchor_its_match():
    boxes = np.arange(24, dtype="float32").reshape(2, 3, 4)
    matches = np.int32([[2, -1, 0, 0], [1, 1, -2, 2]])
    got = ops.convert_to_numpy(matching.take(boxes, matches))
    np.testing.assert_array_equal(got, boxes[[[0], [1]], np.maximum(matches, 0)])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(matching.take(np.int32([[7, 8, 9]] * 2), matches)), [[9, 7, 7, 7], [8, 8, 7, 9]]
    )


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_what_lies_in_an_ignored_region_is_no_background(seed):
    rng = np.random.default_rng(seed)
    # not whole numbers, of which a share may be a half: each backend rounds it its own way
    corners = rng.uniform(0, 30, (2, 20, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 24, (2, 20, 2))], -1).astype("float32")
    regions, anchors = boxes[:, :4], boxes[:, 4:]  # some are empty
    ignored, matches = rng.random((2, 4)) < 0.5, rng.integers(-2, 2, (2, 16)).astype("int32")
    expected = matches.copy()
    for row in range(2):
        for a, (x1, y1, x2, y2) in enumerate(anchors[row]):
            for g in np.flatnonzero(ignored[row]):
                left, top, right, bottom = regions[row, g]
                shared = max(0, min(x2, right) - max(x1, left)) * max(0, min(y2, bottom) - max(y1, top))
                if matches[row, a] == matching.BACKGROUND and shared > 0 and shared >= 0.5 * (x2 - x1) * (y2 - y1):
                    expected[row, a] = matching.IGNORED
    got = matching.ignore(matches, regions, ignored, anchors)
    np.testing.assert_array_equal(ops.convert_to_numpy(got), expected)
