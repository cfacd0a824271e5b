"""Coordinates as classes: targets, and reading them back."""

import numpy as np
import pytest
from keras import ops

from visiontasks.ops import simcc


@pytest.mark.parametrize("sigma", [2.0, 6.0])
def test_a_coordinate_is_read_from_its_target(sigma):
    where = np.float32([[0.1, 3.7, 40.0], [79.9, 50.25, 20.5]])
    targets = ops.convert_to_numpy(simcc.targets(where, 80, sigma))
    centers = np.arange(80) + 0.5
    expected = np.exp(-((centers - where[..., None].astype(float)) ** 2) / (2 * sigma**2))
    np.testing.assert_allclose(targets, expected / expected.sum(axis=-1, keepdims=True), atol=1e-6)
    found, score = map(ops.convert_to_numpy, simcc.coordinate(np.log(np.maximum(targets, 1e-30)), sigma))
    np.testing.assert_allclose(found, where, atol=0.01)
    assert (score > 0.95).all() and (score < 1.0001).all()


@pytest.mark.other_values
def test_a_score_is_the_share_of_the_classes_near_the_best():
    flat = np.zeros((1, 100), np.float32)
    found, score = map(ops.convert_to_numpy, simcc.coordinate(flat, 2.0))
    assert score[0] == pytest.approx(0.06) and 0 <= found[0] <= 100  # the first class and five beside it
