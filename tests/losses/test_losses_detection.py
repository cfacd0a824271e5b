"""Detectors' losses by hand and against slow loops."""

import numpy as np
from keras import ops

from visiontasks.losses import detection


def test_smooth_l1_by_hand():
    got = detection.smooth_l1(np.zeros(4), np.array([0.5, -0.5, 1.0, -3.0]))
    np.testing.assert_allclose(ops.convert_to_numpy(got), [0.125, 0.125, 0.5, 2.5])
    got = detection.smooth_l1(np.zeros(2), np.array([0.05, 1.0]), beta=0.1)
    np.testing.assert_allclose(ops.convert_to_numpy(got), [0.0125, 0.95], rtol=1e-6)


def test_hardest_takes_the_largest_losses_of_each_picture():
    rng = np.random.default_rng(0)
    losses, candidates = rng.random((3, 20)).astype("float32"), rng.random((3, 20)) < 0.6
    count = np.float32([0, 4, 100])
    got = ops.convert_to_numpy(detection.hardest(losses, candidates, count))
    for row in range(3):
        order = [i for i in np.argsort(-losses[row]) if candidates[row, i]][: int(count[row])]
        np.testing.assert_array_equal(got[row], np.isin(np.arange(20), order))
