"""Offset fields against loops over cells; refinement and votes against their definition."""

import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.ops import offset_fields

EDGES = np.array([[0, 1], [1, 2], [1, 3]])
SIZE, STRIDE, RADIUS = (9, 11), 8, 20.0


def array(x):
    return ops.convert_to_numpy(x)


def drawn(rng, people=3, keypoints=4, batch=2, unlabeled=0.25):
    points = rng.uniform(-5, 90, (batch, people, keypoints, 3))
    points[..., 2] = np.where(rng.random(points.shape[:-1]) < unlabeled, 0, rng.integers(1, 3, points.shape[:-1]))
    return points.astype("float32")


def cells(size, stride, origin):
    origin = stride / 2 if origin is None else origin
    for row in range(size[0]):
        for column in range(size[1]):
            yield row, column, np.array([column * stride + origin, row * stride + origin])


def slow_owners(points, origin):
    owners = np.full((len(points), *SIZE, points.shape[2]), -1)
    for b, image in enumerate(points):
        for row, column, center in cells(SIZE, STRIDE, origin):
            for k in range(points.shape[2]):
                near = [(np.hypot(*(p[k, :2] - center)), n) for n, p in enumerate(image) if p[k, 2] > 0]
                if near and min(near)[0] <= RADIUS:
                    owners[b, row, column, k] = min(near)[1]
    return owners


@pytest.mark.parametrize("origin", [None, 0.0])
def test_targets_are_those_of_a_loop(origin):
    points = drawn(np.random.default_rng(0))
    arguments = {"stride": STRIDE, "origin": origin}
    heat, owners = offset_fields.discs(points, SIZE, radius=RADIUS, **arguments)
    expected = slow_owners(points, origin)
    np.testing.assert_array_equal(array(owners), expected)
    np.testing.assert_array_equal(array(heat), expected >= 0)
    assert 0 < (expected >= 0).mean() < 1 and len(np.unique(expected)) == 4

    short = array(offset_fields.short_offsets(points, owners, **arguments))
    mid, known = (array(x) for x in offset_fields.mid_offsets(points, owners, EDGES, **arguments))
    assert mid.shape == (2, *SIZE, 3, 2, 2) and known.shape == mid.shape[:-1]
    for b, image in enumerate(points):
        for row, column, center in cells(SIZE, STRIDE, origin):
            for k in range(4):
                owner = expected[b, row, column, k]
                wanted = image[owner, k, :2] - center if owner >= 0 else [0, 0]
                np.testing.assert_allclose(short[b, row, column, k], wanted, atol=1e-4)
            for e, pair in enumerate(EDGES):
                for direction, (source, target) in enumerate((pair, pair[::-1])):
                    owner = expected[b, row, column, source]
                    labeled = owner >= 0 and image[owner, target, 2] > 0
                    wanted = image[owner, target, :2] - center if labeled else [0, 0]
                    assert known[b, row, column, e, direction] == labeled
                    np.testing.assert_allclose(mid[b, row, column, e, direction], wanted, atol=1e-4)


@pytest.mark.parametrize("origin", [None, 0.0])
def test_long_offsets_are_those_of_a_loop(origin):
    rng = np.random.default_rng(1)
    points, masks = drawn(rng), rng.random((2, 3, *SIZE)) < 0.4
    segments = array(offset_fields.segment_owners(masks))
    offsets, known = (array(x) for x in offset_fields.long_offsets(points, segments, stride=STRIDE, origin=origin))
    for b, image in enumerate(points):
        for row, column, center in cells(SIZE, STRIDE, origin):
            inside = np.flatnonzero(masks[b, :, row, column])
            owner = inside[0] if len(inside) == 1 else -1
            assert segments[b, row, column] == owner
            for k in range(4):
                labeled = owner >= 0 and image[owner, k, 2] > 0
                assert known[b, row, column, k] == labeled
                wanted = image[owner, k, :2] - center if labeled else [0, 0]
                np.testing.assert_allclose(offsets[b, row, column, k], wanted, atol=1e-4)


@pytest.mark.parametrize("people", [0, 1, 3])
def test_nobody_and_nothing_labeled_have_no_discs(people):
    points = drawn(np.random.default_rng(2), people, unlabeled=1.0)
    heat, owners = offset_fields.discs(points, SIZE, stride=STRIDE, radius=RADIUS)
    short = offset_fields.short_offsets(points, owners, stride=STRIDE)
    mid, mid_known = offset_fields.mid_offsets(points, owners, EDGES, stride=STRIDE)
    long, long_known = offset_fields.long_offsets(points, owners[..., 0], stride=STRIDE)
    assert (array(owners) == -1).all()
    assert not any(array(x).any() for x in (heat, short, mid, mid_known, long, long_known))
    assert heat.shape == (2, *SIZE, 4) and mid.shape == (2, *SIZE, 3, 2, 2)


def test_segments_of_nobody():
    assert (array(offset_fields.segment_owners(np.zeros((1, 0, 3, 4), bool))) == -1).all()


def interpolated(field, x, y):
    """A field (h, w, 2) at x, y in cells, the center of the first at 0."""
    x, y = np.clip(x, 0, field.shape[1] - 1), np.clip(y, 0, field.shape[0] - 1)
    total = 0.0
    for row in range(field.shape[0]):
        for column in range(field.shape[1]):
            total = total + max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row)) * field[row, column]
    return total


def test_refinement_reads_where_an_offset_leads_to():
    rng = np.random.default_rng(3)
    mid = rng.normal(0, 15, (2, 4, 5, 3, 2, 2)).astype("float32")
    short = rng.normal(0, 6, (2, 4, 5, 4, 2)).astype("float32")
    got = array(offset_fields.refined(mid, short, EDGES[:, ::-1], times=2, stride=STRIDE))
    assert got.shape == mid.shape
    for b, row, column, e, direction in np.ndindex(mid.shape[:-1]):
        offset = mid[b, row, column, e, direction].astype(float)
        field = short[b, :, :, EDGES[e][1 - direction]]
        for _ in range(2):
            offset = offset + interpolated(field, column + offset[0] / STRIDE, row + offset[1] / STRIDE)
        np.testing.assert_allclose(got[b, row, column, e, direction], offset, atol=1e-3)


@pytest.mark.other_values
def test_refinement_reduces_the_error_of_mid_and_long_offsets():
    rng = np.random.default_rng(4)
    # one person: the discs of two would meet, and between them an interpolated offset leads to neither
    points = np.float32([[[[40, 30, 2], [60, 45, 2], [30, 55, 2], [75, 70, 2]]]])
    size = (24, 26)
    _, owners = offset_fields.discs(points, size, stride=4, radius=24)
    short = offset_fields.short_offsets(points, owners, stride=4)
    mid, known = (array(x) for x in offset_fields.mid_offsets(points, owners, EDGES, stride=4))
    long, inside = (array(x) for x in offset_fields.long_offsets(points, np.zeros((1, *size), int), stride=4))
    for exact, where, keypoints in ((mid, known, EDGES[:, ::-1]), (long, inside, None)):
        wrong = exact + rng.normal(0, 5, exact.shape).astype("float32")
        errors = [np.linalg.norm(wrong - exact, axis=-1)[where].mean()]
        for times in (1, 2):
            better = array(offset_fields.refined(wrong, short, keypoints, times=times, stride=4))
            errors.append(np.linalg.norm(better - exact, axis=-1)[where].mean())
        assert errors[0] > 5 and errors[1] < 0.1 and errors[2] <= errors[1] + 1e-3
    # exact long offsets stay as they are when they are read at the keypoints they lead to
    same = array(offset_fields.refined(long, long, times=2, stride=4))
    np.testing.assert_allclose(same, long, atol=1e-3)


def test_gradients_flow_through_both_fields_and_the_place():
    """The derivative for an offset is 1 + the slope of the field where it is read."""
    slope = np.float32([[0.3, -0.1], [0.2, -0.4]])
    centers = offset_fields.centers((6, 7), 4)
    short = (centers @ slope.T)[None, :, :, None].astype("float32")
    mid = np.full((1, 6, 7, 1, 2), 1.5, "float32")

    def gradients(mid, short):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            mid, short = tf.Variable(mid), tf.Variable(short)
            with tf.GradientTape() as tape:
                total = ops.sum(offset_fields.refined(mid, short, times=1, stride=4)[:, 1:-1, 1:-1])
            return [tf.convert_to_tensor(x) for x in tape.gradient(total, [mid, short])]
        if keras.backend.backend() == "jax":
            import jax

            return jax.grad(
                lambda m, s: ops.sum(offset_fields.refined(m, s, times=1, stride=4)[:, 1:-1, 1:-1]), (0, 1)
            )(mid, short)
        mid, short = (ops.convert_to_tensor(x).requires_grad_() for x in (mid, short))
        ops.sum(offset_fields.refined(mid, short, times=1, stride=4)[:, 1:-1, 1:-1]).backward()
        return mid.grad.detach(), short.grad.detach()

    for_mid, for_short = (array(x) for x in gradients(mid, short))
    expected = np.zeros_like(for_mid)
    expected[:, 1:-1, 1:-1] = 1 + slope.sum(axis=0)
    np.testing.assert_allclose(for_mid, expected, atol=1e-4)
    # each of the 4 × 5 offsets reads weights that add up to 1, in both coordinates
    np.testing.assert_allclose(for_short.sum(), 4 * 5 * 2, rtol=1e-5)
    assert (for_short >= -1e-6).all()


def test_votes_are_those_of_a_loop():
    rng = np.random.default_rng(5)
    heat = rng.random((2, 5, 6, 3)).astype("float32")
    short = rng.normal(0, 12, (2, 5, 6, 3, 2)).astype("float32")
    short[0, 0, 0] = 1e12  # a vote may be lost
    got = array(offset_fields.hough_scores(heat, short, stride=STRIDE, radius=RADIUS))
    expected = np.zeros((2, 5, 6, 3))
    for b, row, column, k in np.ndindex(heat.shape):
        x, y = np.array([column, row]) + short[b, row, column, k].astype(float) / STRIDE
        for r, c in np.ndindex(5, 6):
            share = max(0, 1 - abs(x - c)) * max(0, 1 - abs(y - r))
            expected[b, r, c, k] += heat[b, row, column, k] * share
    np.testing.assert_allclose(got, expected * STRIDE**2 / (np.pi * RADIUS**2), atol=1e-5)
    assert expected.sum() < heat.sum() - 1


@pytest.mark.other_values
def test_all_cells_of_a_disc_vote_for_its_keypoint():
    points = np.float32([[[[62, 58, 2]]]])  # the center of cell 14, 15
    heat, owners = offset_fields.discs(points, (30, 30), stride=4, radius=32)
    short = offset_fields.short_offsets(points, owners, stride=4)
    scores = array(offset_fields.hough_scores(heat, short, stride=4, radius=32))
    assert abs(scores[0, 14, 15, 0] - 1) < 0.05  # the number of cells in the disc is only nearly its area
    assert np.count_nonzero(scores > 1e-4) == 1
