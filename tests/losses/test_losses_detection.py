"""Detectors' losses by hand and against slow loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from visiontasks.losses import detection


def test_smooth_l1_by_hand():
    got = detection.smooth_l1(np.zeros(4), np.array([0.5, -0.5, 1.0, -3.0]))
    np.testing.assert_allclose(ops.convert_to_numpy(got), [0.125, 0.125, 0.5, 2.5])
    got = detection.smooth_l1(np.zeros(2), np.array([0.05, 1.0]), beta=0.1)
    np.testing.assert_allclose(ops.convert_to_numpy(got), [0.0125, 0.95], rtol=1e-6)


def test_hardest_takes_the_largest_losses_of_each_image():
    rng = np.random.default_rng(0)
    losses, candidates = rng.random((3, 20)).astype("float32"), rng.random((3, 20)) < 0.6
    count = np.float32([0, 4, 100])
    got = ops.convert_to_numpy(detection.hardest(losses, candidates, count))
    for row in range(3):
        order = [i for i in np.argsort(-losses[row]) if candidates[row, i]][: int(count[row])]
        np.testing.assert_array_equal(got[row], np.isin(np.arange(20), order))


def test_distribution_focal_by_hand():
    """Equation 6: 2.25 is three quarters 2 and a quarter 3."""
    logits = np.float32([0.5, -1.0, 2.0, 0.25])
    log_shares = logits - np.log(np.exp(logits).sum())
    got = float(ops.convert_to_numpy(detection.distribution_focal(2.25, logits)))
    np.testing.assert_allclose(got, -(0.75 * log_shares[2] + 0.25 * log_shares[3]), rtol=1e-6)
    for target, expected in ((2.0, log_shares[2]), (7.0, log_shares[3]), (-1.0, log_shares[0])):
        got = float(ops.convert_to_numpy(detection.distribution_focal(target, logits)))
        np.testing.assert_allclose(got, -expected, rtol=1e-6)


def test_distribution_focal_against_a_slow_loop():
    rng = np.random.default_rng(0)
    targets, logits = rng.uniform(0, 14.99, (6, 4)), rng.normal(size=(6, 4, 16)).astype("float32") * 3
    expected = np.zeros((6, 4))
    for i in range(6):
        for j in range(4):
            shares = np.exp(logits[i, j].astype("float64"))
            shares, low = shares / shares.sum(), int(targets[i, j])
            part = targets[i, j] - low
            expected[i, j] = -((1 - part) * np.log(shares[low]) + part * np.log(shares[low + 1]))
    got = ops.convert_to_numpy(detection.distribution_focal(targets.astype("float32"), logits))
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_sigmoid_cross_entropy_of_shares_and_of_large_logits():
    targets, logits = np.float32([0.3, 1.0, 0.0, 1.0]), np.float32([0.7, -2.0, 200.0, -200.0])
    got = ops.convert_to_numpy(detection.sigmoid_cross_entropy(targets, logits))
    p = 1 / (1 + np.exp(-logits[:2].astype("float64")))
    expected = -targets[:2] * np.log(p) - (1 - targets[:2]) * np.log(1 - p)
    np.testing.assert_allclose(got, [*expected, 200, 200], rtol=1e-5)


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_marginal_cross_entropy_against_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, (2, 7)).astype("int32") * (rng.random((2, 7)) < 0.5)
    logits, known = rng.normal(0, 3, (2, 7, 5)).astype("float32"), rng.random((2, 4)) < 0.5
    expected = np.zeros((2, 7))
    for row in range(2):
        for a in range(7):
            p = np.exp(logits[row, a].astype("float64"))
            p /= p.sum()
            meant = p[labels[row, a]] if labels[row, a] else p[0] + p[1:][~known[row]].sum()
            expected[row, a] = -np.log(meant)
    got = ops.convert_to_numpy(detection.marginal_cross_entropy(labels, logits, known))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    plain = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    got = ops.convert_to_numpy(detection.marginal_cross_entropy(labels, logits, np.ones((2, 4), bool)))
    np.testing.assert_allclose(got, ops.convert_to_numpy(plain), rtol=1e-5, atol=1e-6)


def test_marginal_cross_entropy_of_extreme_logits_is_finite():
    logits = np.float32([[[1e4, -1e4, 0], [-1e4, 1e4, 0]]])
    got = ops.convert_to_numpy(detection.marginal_cross_entropy(np.int32([[1, 0]]), logits, np.array([[True, False]])))
    np.testing.assert_allclose(got, [[2e4, 1e4]])
