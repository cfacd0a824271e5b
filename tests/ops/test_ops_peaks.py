"""Local maxima of heat maps: exact for Gaussians, one for a plateau, and beside a slow rule."""

import keras
import numpy as np
import people
import pytest
from keras import ops

from visiontasks.ops.part_affinity import limb_scores
from visiontasks.ops.peaks import local_maxima


def maxima(maps, *arguments, **more):
    return ops.convert_to_numpy(local_maxima(maps.astype("float32"), *arguments, **more))


def numbered(values):
    """A map (1, h, w, 1) of rows of digits."""
    return np.float32([[int(value) for value in row] for row in values.split()])[None, ..., None] / 10


@pytest.mark.parametrize(("stride", "sigma"), [(4, 7), (8, 7), (8, 12), (1, 1.5)])
@pytest.mark.other_values
def test_sampled_gaussians_are_found_exactly(stride, sigma):
    """Anywhere in the image: near its border too, and between two or four equal cells."""
    rng, size = np.random.default_rng(stride), (12 * stride, 15 * stride)
    points = rng.uniform(0, 1, (30, 1, 2)) * size[::-1]
    points[:4, 0] = np.array([[0, 0], size[::-1], [5 * stride, 4 * stride], [0.2 * stride, 5 * stride]])
    points = np.concatenate([points, np.ones((30, 1, 1))], axis=-1)
    maps = np.stack([people.heat_maps(one[None], size, stride, sigma) for one in points])
    found = maxima(maps, 3, 0.1, stride)
    assert found.shape == (30, 1, 3, 3) and not found[:, :, 1:].any()
    np.testing.assert_allclose(found[:, 0, 0, :2], points[:, 0, :2], atol=2e-3 * stride)
    np.testing.assert_array_equal(found[:, 0, 0, 2], maps.max(axis=(1, 2, 3)))


@pytest.mark.parametrize("window", [3, 5])
def test_maxima_are_those_of_the_slow_rule(window):
    rng, reach = np.random.default_rng(window), window // 2
    maps = rng.random((2, 9, 13, 3)).astype("float32")
    found = maxima(maps, 20, 0.5, 4, window)
    for image, channel in np.ndindex(2, 3):
        one, expected = maps[image, ..., channel], []
        for row, column in np.ndindex(one.shape):
            around = one[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
            if one[row, column] == around.max() and one[row, column] > 0.5:
                expected.append((one[row, column], row, column))
        expected = sorted(expected, reverse=True)
        got = found[image, channel]
        assert 3 < len(expected) < 20 and not got[len(expected) :].any()
        for (x, y, score), (value, row, column) in zip(got, expected, strict=False):
            assert score == value
            middle = (min(max(row, 1), 7), min(max(column, 1), 11))
            for place, cell, center, line in ((y, row, middle[0], one[:, column]), (x, column, middle[1], one[row])):
                a, b, c = np.polyfit([-1, 0, 1], np.log(line[center - 1 : center + 2].astype("float64")), 2)
                offset = np.clip(center - cell - b / (2 * a), -0.5, 0.5) if a < 0 else 0
                np.testing.assert_allclose(place, (cell + 0.5 + offset) * 4, atol=1e-3)
    few = maxima(maps, 2, 0.5, 4, window)
    np.testing.assert_array_equal(few, found[:, :, :2])


@pytest.mark.parametrize(
    "drawn",
    [
        "00000 01110 01110 00000",
        "90000 00000 00000 00000",
        "55555 55555 55555 55555",
        "00000 05050 00500 00000",  # two cells that do not touch, but for the third
        "05000 00500 05000 50000",
        "00000 56000 66000 00000",
    ],
)
@pytest.mark.other_values
def test_a_plateau_is_one_maximum(drawn):
    found = maxima(numbered(drawn), 4, 0.05, 8)[0, 0]
    assert np.count_nonzero(found[:, 2]) == 1 and found[0, 2] == numbered(drawn).max()


def test_a_step_of_a_slope_is_none():
    found = maxima(numbered("00000000 01111190 01111100 00000000"), 4, 0.05, 8)[0, 0]
    assert np.count_nonzero(found[:, 2]) == 1 and found[0, 2] == np.float32(0.9)


def test_equal_maxima_far_from_each_other_are_two():
    found = maxima(numbered("0000000 0500050 0000000"), 4, 0.05, 8)[0, 0]
    assert np.count_nonzero(found[:, 2]) == 2 and set(found[:2, 0]) == {12.0, 44.0}


@pytest.mark.other_values
def test_negative_and_low_values_are_no_maxima():
    assert not maxima(np.full((2, 5, 5, 3), -0.1), 4, 0.0, 8).any()
    assert not maxima(np.full((2, 5, 5, 3), 0.1), 4, 0.1, 8).any()
    more_than_cells = maxima(np.full((1, 3, 3, 1), 0.5), 20, 0.1, 8)
    assert more_than_cells.shape == (1, 1, 20, 3) and np.count_nonzero(more_than_cells[..., 2]) == 1


@pytest.mark.other_values
def test_a_neighbor_of_0_or_less_keeps_the_maximum_in_its_cell():
    maps = np.full((1, 5, 5, 1), -0.01)
    maps[0, 2, 2], maps[0, 2, 1] = 0.5, 0.4
    (x, y, score) = maxima(maps, 1, 0.1, 8)[0, 0, 0]
    assert 16 <= x < 18 and y == 20 and score == 0.5


def test_in_a_model_the_batch_may_have_any_size():
    rng, size = np.random.default_rng(0), (96, 128)
    truth = people.isolated(rng, size, 1, 3)
    maps = np.stack([people.heat_maps(truth[i : i + 1], size, 8, 7.0) for i in range(3)])
    fields = rng.normal(size=(3, 12, 16, 19, 2)).astype("float32")

    class Decoder(keras.layers.Layer):
        def call(self, maps, fields):
            peaks = local_maxima(maps, 4, 0.1, 8)
            return peaks, limb_scores(fields, peaks, people.LIMBS, 8)

    inputs = keras.Input((12, 16, 18)), keras.Input((12, 16, 19, 2))
    model = keras.Model(inputs, Decoder()(*inputs))
    assert [x.shape for x in model.outputs] == [(None, 18, 4, 3), (None, 19, 4, 4)]
    peaks, scores = model.predict([maps, fields], batch_size=2, verbose=0)
    np.testing.assert_allclose(peaks, maxima(maps, 4, 0.1, 8), atol=1e-4)
    np.testing.assert_allclose(scores, ops.convert_to_numpy(limb_scores(fields, peaks, people.LIMBS, 8)), atol=1e-4)


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="window: expected an odd number, got 4"):
        local_maxima(np.zeros((1, 5, 5, 1), "float32"), 1, 0.1, 8, window=4)
    with pytest.raises(ValueError, match="maps: expected at least 3 rows and columns, got 2 x 5"):
        local_maxima(np.zeros((1, 2, 5, 1), "float32"), 1, 0.1, 8)
