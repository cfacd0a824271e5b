"""Box arithmetic against slow NumPy, box by box, and the laws it states."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from visiontasks.ops import boxes

numbers = st.floats(0, 500, width=32)


@st.composite
def box_lists(draw, least=1, most=6, thinnest=0.0):
    """(n, 4): corners and sides between `thinnest` and 500 pixels."""
    sides = st.floats(thinnest, 500, width=32)
    drawn = draw(st.lists(st.tuples(numbers, numbers, sides, sides), min_size=least, max_size=most))
    return np.float32([(x, y, x + w, y + h) for x, y, w, h in drawn])


def array(tensor):
    return ops.convert_to_numpy(tensor)


def slow_iou(a, b):
    a, b = np.float64(a), np.float64(b)
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return (shared / union if union > 0 else 0), shared, union


def slow_paired(a, b, kind):
    iou, _, union = slow_iou(a, b)
    a, b = np.float64(a), np.float64(b)
    width, height = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - (width * height - union) / (width * height)
    centers = [((s[0] + s[2]) / 2, (s[1] + s[3]) / 2) for s in (a, b)]
    diou = iou - math.dist(*centers) ** 2 / (width**2 + height**2)
    if kind == "diou":
        return diou
    shape = 4 / math.pi**2 * (math.atan((b[2] - b[0]) / (b[3] - b[1])) - math.atan((a[2] - a[0]) / (a[3] - a[1]))) ** 2
    return diou - (shape / (1 - iou + shape) * shape if shape else 0)


@settings(max_examples=50)
@given(box_lists(), box_lists())
def test_iou_of_every_pair(a, b):
    got = array(boxes.iou(a, b))
    assert got.shape == (len(a), len(b)) and got.dtype == np.float32
    assert (got >= 0).all() and (got <= 1 + 1e-6).all()
    np.testing.assert_allclose(got, [[slow_iou(x, y)[0] for y in b] for x in a], atol=2e-4)
    np.testing.assert_array_equal(got, array(boxes.iou(b, a)).T)


@settings(max_examples=50)
@given(box_lists(4, 4, thinnest=1.0), box_lists(4, 4, thinnest=1.0), st.sampled_from(["iou", "giou", "diou", "ciou"]))
def test_paired_overlaps(a, b, kind):
    got = array(boxes.paired_iou(a, b, kind))
    np.testing.assert_allclose(got, [slow_paired(x, y, kind) for x, y in zip(a, b, strict=True)], atol=2e-3)


def test_leading_axes_and_half_precision_in():
    rng = np.random.default_rng(0)
    a = np.concatenate([c := rng.uniform(0, 50, (2, 3, 5, 2)), c + rng.uniform(1, 20, (2, 3, 5, 2))], -1)
    assert boxes.iou(a, a[:, :, :4]).shape == (2, 3, 5, 4)
    same = array(boxes.iou(a.astype("float16"), a.astype("float16")))
    assert same.dtype == np.float32 and same.max() <= 1 + 1e-6


def test_a_large_image_is_exact():
    """Two boxes of 4000 pixels, one pixel apart: float16 cannot tell them from one."""
    a, b = np.float32([[0, 0, 4000, 3000]]), np.float32([[1, 0, 4001, 3000]])
    assert array(boxes.iou(a, b))[0, 0] == pytest.approx(3999 / 4001, abs=1e-6)


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_boxes_apart_are_drawn_together(kind):
    """The plain IoU is flat there; these fall with the distance."""
    target = np.float32([[0, 0, 10, 10]])
    near, far = (float(array(boxes.paired_iou(np.float32([[x, 0, x + 10, 10]]), target, kind))[0]) for x in (20, 40))
    assert far < near < 0


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind: expected iou"):
        boxes.paired_iou(np.zeros((1, 4)), np.zeros((1, 4)), "eiou")


@settings(max_examples=50)
@given(box_lists(5, 5, thinnest=10.0), box_lists(5, 5, thinnest=10.0))
@pytest.mark.other_values
def test_decode_is_the_inverse_of_encode(given_boxes, anchors):
    for variances in ((1, 1, 1, 1), (0.1, 0.1, 0.2, 0.2)):
        deltas = boxes.encode(given_boxes, anchors, variances)
        np.testing.assert_allclose(array(boxes.decode(deltas, anchors, variances)), given_boxes, atol=0.02)


def test_encode_by_hand():
    """A box twice as wide, its center a quarter of the anchor's width to the right."""
    anchor, box = np.float32([[0, 0, 8, 4]]), np.float32([[-2, 0, 14, 4]])
    np.testing.assert_allclose(array(boxes.encode(box, anchor)), [[0.25, 0, math.log(2), 0]], atol=1e-6)
    np.testing.assert_allclose(
        array(boxes.encode(box, anchor, (0.1, 0.1, 0.2, 0.2))), [[2.5, 0, 5 * math.log(2), 0]], atol=1e-5
    )


def test_no_output_decodes_to_infinity():
    result = array(boxes.decode(np.full((1, 4), 1e4, "float32"), np.float32([[0, 0, 16, 16]])))
    assert np.isfinite(result).all()
    assert result[0, 2] - result[0, 0] == pytest.approx(1000, rel=1e-3)


def test_clip_and_area():
    clipped = array(boxes.clip(np.float32([[-5, -5, 700, 20], [3, 4, 5, 6]]), (480, 640)))
    np.testing.assert_array_equal(clipped, [[0, 0, 640, 20], [3, 4, 5, 6]])
    each = array(boxes.clip(np.float32([[[-1, -1, 50, 50]]] * 2), np.float32([[10, 20], [40, 30]])))
    np.testing.assert_array_equal(each, [[[0, 0, 20, 10]], [[0, 0, 30, 40]]])
    np.testing.assert_array_equal(array(boxes.area(np.float32([[0, 0, 2, 3], [5, 5, 4, 9]]))), [6, 0])


def test_at_least():
    given_boxes = np.float32([[0, 0, 2, 2], [0, 0, 2, 1.5], [0, 0, 1.5, 2], [3, 3, 1, 1]])
    np.testing.assert_array_equal(ops.convert_to_numpy(boxes.at_least(given_boxes, 2.0)), [True, False, False, False])


@settings(max_examples=50)
@given(box_lists(5, 5), st.lists(st.tuples(numbers, numbers), min_size=5, max_size=5))
def test_distances_and_their_inverse(given_boxes, points):
    points = np.float32(points)
    result = array(boxes.distances(given_boxes, points))
    np.testing.assert_allclose(array(boxes.from_distances(result, points)), given_boxes, atol=1e-3)
    np.testing.assert_allclose(
        array(boxes.distances(boxes.from_distances(given_boxes, points), points)), given_boxes, atol=1e-3
    )
    inside = array(boxes.contain(given_boxes, points))
    np.testing.assert_array_equal(np.diag(inside), (result > 0).all(axis=-1))


def test_distances_by_hand():
    box, point = np.float32([[10, 20, 50, 40]]), np.float32([[15, 50]])
    np.testing.assert_array_equal(array(boxes.distances(box, point)), [[5, 30, 35, -10]])
    got = array(boxes.contain(box, np.float32([[15, 50], [15, 30], [10, 30]])))
    np.testing.assert_array_equal(got, [[False, True, False]])
