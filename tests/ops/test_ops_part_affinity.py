"""Part affinity fields and the scores of limbs, beside slow loops; the one is the inverse of the other."""

import keras
import numpy as np
import people
import pytest
from keras import ops

from visiontasks.ops.part_affinity import limb_scores, part_affinity_fields

LIMBS = [(0, 1), (1, 2), (2, 0)]


def fields_of(*arguments, **more):
    return ops.convert_to_numpy(part_affinity_fields(*arguments, **more))


def scores_of(*arguments, **more):
    return ops.convert_to_numpy(limb_scores(*arguments, **more))


def slow_fields(points, limbs, size, stride, width):
    """Of one image's people (N, K, 3)."""
    fields = np.zeros((*size, len(limbs), 2))
    for row, column, number in np.ndindex(*size, len(limbs)):
        center = np.array([column + 0.5, row + 0.5]) * stride
        found = []
        for one in points.astype(np.float64):
            (start, end) = one[list(limbs[number])]
            length = np.hypot(*(end - start)[:2])
            if start[2] > 0 and end[2] > 0 and length > 0:
                unit = (end - start)[:2] / length
                along, beside = (center - start[:2]) @ unit, (center - start[:2]) @ (-unit[1], unit[0])
                if -width <= along <= length + width and abs(beside) <= width:
                    found.append(unit)
        if found:
            fields[row, column, number] = np.mean(found, axis=0)
    return fields


def between_cells(field, x, y):
    height, width = field.shape[:2]
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    x, y = x - left, y - top
    above = field[top, left] * (1 - x) + field[top, right] * x
    return above * (1 - y) + (field[bottom, left] * (1 - x) + field[bottom, right] * x) * y


def slow_scores(fields, peaks, limbs, stride, samples=10, threshold=0.05, share=0.8):
    """Of one image; and how near to the threshold the decisions were."""
    count = peaks.shape[1]
    scores, margin = np.full((len(limbs), count, count), -np.inf), np.inf
    for number, a, b in np.ndindex(*scores.shape):
        start, end = peaks[limbs[number][0], a], peaks[limbs[number][1], b]
        length = np.hypot(*(end - start)[:2])
        if not (start[2] > 0 and end[2] > 0 and length > 0):
            continue
        places = [start[:2] + (end - start)[:2] * i / (samples - 1) for i in range(samples)]
        values = [
            between_cells(fields[:, :, number], *(place / stride)) @ (end - start)[:2] / length for place in places
        ]
        margin = min(margin, np.abs(np.array(values) - threshold).min())
        if sum(value > threshold for value in values) > share * samples:
            scores[number, a, b] = np.mean(values) + min(0.5 * fields.shape[0] * stride / length - 1, 0)
    return scores, margin


def test_fields_are_those_of_the_slow_loop():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(0, 80, (2, 4, 3, 2)), rng.integers(0, 3, (2, 4, 3, 1))], -1).astype("float32")
    points[0, 0, 0, :2] = points[0, 0, 1, :2]
    found = fields_of(points, LIMBS, (10, 12), 8, 9.0)
    for one, expected in zip(found, points, strict=True):
        np.testing.assert_allclose(one, slow_fields(expected, LIMBS, (10, 12), 8, 9.0), atol=1e-5)
    assert found.any(axis=(1, 2, 4)).all()
    lengths = np.linalg.norm(found, axis=-1)
    assert ((lengths > 0.01) & (lengths < 0.99)).any() and lengths.max() <= 1 + 1e-6  # some overlap


def test_what_has_no_direction_or_label_is_not_drawn():
    points = np.float32([[[[20, 20, 2], [20, 20, 2], [50, 20, 0]]]])
    assert not fields_of(points, LIMBS, (8, 8), 8, 8.0).any()
    points = np.float32([[[[20, 20, 2], [50, 20, 1], [50, 50, 0]], [[20, 50, 2], [50, 50, 2], [0, 0, 0]]]])
    both = fields_of(points, LIMBS, (8, 8), 8, 4.0)
    first = fields_of(points, LIMBS, (8, 8), 8, 4.0, valid=np.array([[True, False]]))
    np.testing.assert_array_equal(first, fields_of(points[:, :1], LIMBS, (8, 8), 8, 4.0))
    np.testing.assert_array_equal(np.argwhere(first[0, ..., 0, 0] == 1), [[2, x] for x in (2, 3, 4, 5, 6)])
    assert both[0, ..., 0, 0].sum() == 2 * first[0, ..., 0, 0].sum() and not both[0, :, :, 1:].any()


@pytest.mark.other_values
def test_nobody_is_an_empty_field():
    assert fields_of(np.zeros((2, 0, 3, 3), "float32"), LIMBS, (5, 6), 8, 8.0).shape == (2, 5, 6, 3, 2)
    assert not fields_of(np.zeros((2, 3, 3, 3), "float32"), LIMBS, (5, 6), 8, 8.0).any()


@pytest.mark.parametrize(("samples", "share"), [(10, 0.8), (5, 0.4), (10, 0.7)])
def test_scores_are_those_of_the_slow_loop(samples, share):
    rng = np.random.default_rng(samples)
    fields = (rng.normal(0, 0.2, (2, 9, 11, 3, 2)) + 0.6).astype("float32")
    peaks = np.concatenate([rng.uniform(-5, 95, (2, 3, 6, 2)), rng.uniform(0.1, 1, (2, 3, 6, 1))], -1).astype("float32")
    peaks[0, 0, 3], peaks[0, 1, 2, 2], peaks[1, 2, 4, 2] = 0, -np.inf, -1
    peaks[1, 1, 0, :2] = peaks[1, 0, 0, :2]
    found = scores_of(fields, peaks, LIMBS, 8, samples=samples, share=share)
    for number in range(2):
        expected, margin = slow_scores(fields[number], peaks[number], LIMBS, 8, samples, share=share)
        assert margin > 1e-5  # else rounding decides
        np.testing.assert_allclose(found[number], expected, atol=1e-4)
        assert np.isfinite(expected).mean() > 0.1 and np.isinf(expected).mean() > 0.2


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.other_values
def test_true_pairs_score_1_and_no_other_pair_does(stride):
    """The inverse law."""
    rng, size = np.random.default_rng(stride), (384, 480)
    truth = people.isolated(rng, size, 2, 3)[None]
    fields = part_affinity_fields(truth, people.LIMBS, (size[0] // stride, size[1] // stride), stride, 1.5 * stride)
    found = scores_of(fields, np.swapaxes(truth, 1, 2), people.LIMBS, stride)[0]
    same = np.eye(6, dtype=bool)
    for limb, scores in zip(people.LIMBS, found, strict=True):
        labeled = (truth[0][:, list(limb), 2] > 0).all(axis=1)
        np.testing.assert_allclose(scores[same][labeled], 1, atol=1e-4)
        assert np.isinf(scores[same][~labeled]).all() and (scores[~same] < 0.9).all()


@pytest.mark.other_values
def test_a_limb_longer_than_half_the_image_loses():
    points = np.float32([[[[8, 40, 2], [88, 40, 2]]]])
    fields = part_affinity_fields(points, [(0, 1)], (10, 12), 8, 16.0)
    found = scores_of(fields, np.swapaxes(points, 1, 2), [(0, 1)], 8)
    np.testing.assert_allclose(found, [[[[0.5]]]], atol=1e-5)  # 0.5 · 80 / 80 - 1


@pytest.mark.other_values
def test_in_a_model_the_batch_may_have_any_size():
    class Targets(keras.layers.Layer):
        def call(self, points):
            return part_affinity_fields(points, people.LIMBS, (12, 16), 8, 8.0)

    points = keras.Input((2, 18, 3))
    model = keras.Model(points, Targets()(points))
    assert model.output_shape == (None, 12, 16, 19, 2)
    truth = np.stack([people.isolated(np.random.default_rng(i), (96, 128), 1, 2) for i in range(3)])
    expected = fields_of(truth, people.LIMBS, (12, 16), 8, 8.0)
    np.testing.assert_allclose(model.predict(truth, batch_size=2, verbose=0), expected, atol=1e-6)


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="fields: expected 3 limbs"):
        limb_scores(np.zeros((1, 4, 4, 2, 2), "float32"), np.zeros((1, 3, 1, 3), "float32"), LIMBS, 8)
    with pytest.raises(ValueError, match="samples: expected 2 or more"):
        limb_scores(np.zeros((1, 4, 4, 3, 2), "float32"), np.zeros((1, 3, 1, 3), "float32"), LIMBS, 8, samples=1)
