"""The greedy coreset against a slow loop."""

import keras
import numpy as np

from visiontasks.ops.coreset import greedy_coreset

POINTS = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")


def slow(points, count):
    chosen = [0]
    while len(chosen) < count:
        distances = [min(np.linalg.norm(point - points[k]) for k in chosen) for point in points.astype("float64")]
        chosen.append(int(np.argmax(distances)))
    return chosen


def test_it_equals_a_slow_greedy_choice():
    found = keras.ops.convert_to_numpy(greedy_coreset(POINTS, 20))
    assert found.dtype == np.int32 and found.tolist() == slow(POINTS, 20)


def test_every_point_is_chosen_once_before_any_twice():
    assert sorted(keras.ops.convert_to_numpy(greedy_coreset(POINTS, 100)).tolist()) == list(range(60))
