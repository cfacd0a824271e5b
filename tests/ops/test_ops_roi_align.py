"""ROI align point by point."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.ops.roi_align import level_of, roi_align


def slow_point(features, y, x):
    height, width, _ = features.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(features.shape[-1])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    above = features[top, left] * (1 - (x - left)) + features[top, right] * (x - left)
    below = features[bottom, left] * (1 - (x - left)) + features[bottom, right] * (x - left)
    return above * (1 - (y - top)) + below * (y - top)


def slow(features, box, stride, size, samples):
    x1, y1, x2, y2 = np.float64(box) / stride
    width, height = max(x2 - x1, 1) / size, max(y2 - y1, 1) / size
    result = np.zeros((size, size, features.shape[-1]))
    for row in range(size):
        for column in range(size):
            points = [
                slow_point(
                    features, y1 + (row + (i + 0.5) / samples) * height, x1 + (column + (j + 0.5) / samples) * width
                )
                for i in range(samples)
                for j in range(samples)
            ]
            result[row, column] = np.mean(points, axis=0)
    return result


@pytest.mark.parametrize(("size", "samples"), [(1, 1), (3, 2), (2, 3)])
def test_equals_the_slow_one_over_all_levels(size, samples):
    rng = np.random.default_rng(0)
    pyramid = {n: rng.normal(size=(2, 256 // 2**n, 320 // 2**n, 3)).astype("float32") for n in (3, 4, 5)}
    corners = rng.uniform(-20, 250, (2, 6, 2))
    boxes = np.concatenate([corners, corners + np.exp(rng.uniform(3, 6.7, (2, 6, 2)))], -1).astype("float32")
    got = ops.convert_to_numpy(roi_align(pyramid, boxes, size, samples))
    assert got.shape == (2, 6, size, size, 3)
    levels = set()
    for b in range(2):
        for n in range(6):
            box = boxes[b, n]
            area = (box[2] - box[0]) * (box[3] - box[1])
            level = int(np.clip(math.floor(4 + math.log2(math.sqrt(area) / 224)), 3, 5))
            levels.add(level)
            np.testing.assert_allclose(got[b, n], slow(pyramid[level][b], box, 2**level, size, samples), atol=1e-4)
    assert len(levels) > 1


def test_a_missing_level_is_replaced_by_the_next_finer_one():
    rng = np.random.default_rng(5)
    pyramid = {n: rng.normal(size=(1, 64 // 2**n, 64 // 2**n, 2)).astype("float32") for n in (1, 4)}
    box = np.float32([[[4, 6, 60, 62]]])  # of level 2
    assert int(ops.convert_to_numpy(level_of(box, 1, 4))[0, 0]) == 2
    got = ops.convert_to_numpy(roi_align(pyramid, box, 2, 2))[0, 0]
    np.testing.assert_allclose(got, slow(pyramid[1][0], box[0, 0], 2, 2, 2), atol=1e-4)


def test_levels_by_the_paper():
    sides = np.float32([1, 111, 112, 223, 224, 447, 448, 5000])
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], -1)
    np.testing.assert_array_equal(ops.convert_to_numpy(level_of(boxes, 2, 5)), [2, 2, 3, 3, 4, 4, 5, 5])
    assert ops.convert_to_numpy(level_of(np.zeros((1, 4), "float32"), 2, 5)) == 2  # padding


def test_half_precision_features_keep_exact_positions():
    """On a ramp the value at a point is its position: 4000 pixels are more than bfloat16 could count."""
    ramp = np.tile(np.arange(500, dtype="float32")[None, None, :, None], (1, 4, 1, 1))
    boxes = np.float32([[[8 * 401, 0, 8 * 405, 32]]])
    got = roi_align({3: ops.cast(ramp, "bfloat16")}, boxes, 1, 1)
    assert keras.backend.standardize_dtype(got.dtype) == "bfloat16"
    exact = roi_align({3: ramp}, boxes, 1, 1)
    assert float(ops.convert_to_numpy(exact).item()) == pytest.approx(403)
    assert float(ops.convert_to_numpy(ops.cast(got, "float32")).item()) == pytest.approx(403, abs=2)


def test_boxes_of_any_order_say_which_image_they_are_in():
    rng = np.random.default_rng(3)
    pyramid = {n: rng.normal(size=(2, 64 // 2**n, 64 // 2**n, 2)).astype("float32") for n in (2, 3)}
    boxes = np.float32([[[4, 6, 60, 62], [0, 0, 9, 9]], [[2, 3, 30, 40], [8, 8, 64, 64]]])
    every = ops.convert_to_numpy(roi_align(pyramid, boxes, 2))
    images = np.int32([1, 0, 1])
    some = roi_align(pyramid, boxes[images, [1, 0, 0]], 2, images=images)
    np.testing.assert_array_equal(ops.convert_to_numpy(some), every[images, [1, 0, 0]])


def test_the_gradient_is_the_transposed_map():
    """Sampling is linear: for all features x and any g, <f(x), g> = <x, gradient of <f, g>>."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes the gradient with TensorFlow")
    import tensorflow as tf

    rng = np.random.default_rng(1)
    pyramid = {n: tf.constant(rng.normal(size=(2, 64 // 2**n, 64 // 2**n, 3)), "float32") for n in (2, 3)}
    corners = rng.uniform(-20, 40, (2, 5, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 200, (2, 5, 2))], -1).astype("float32")
    weights = rng.normal(size=(2, 5, 3, 3, 3))
    with tf.GradientTape() as tape:
        tape.watch(pyramid)
        total = tf.reduce_sum(roi_align(pyramid, boxes, 3) * weights.astype("float32"))
    gradient = tape.gradient(total, pyramid)
    basis = rng.normal(size=(4, 2, 8, 8, 3))
    for level, values in pyramid.items():
        for one in basis:
            other = np.repeat(np.repeat(one, 2, 1), 2, 2) if level == 2 else one
            moved = {**pyramid, level: values + other.astype("float32")}
            got = np.sum(weights * (ops.convert_to_numpy(roi_align(moved, boxes, 3)))) - float(total)
            assert got == pytest.approx(float(np.sum(other * gradient[level].numpy())), rel=1e-3, abs=1e-3)


def test_in_half_precision_the_gradient_of_a_cell_is_still_the_sum_over_hundreds_of_boxes():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow")
    import tensorflow as tf

    rng = np.random.default_rng(0)
    features = tf.constant(rng.normal(size=(1, 20, 20, 4)), "float32")
    corners = rng.uniform(20, 60, (1, 512, 2))
    boxes = tf.constant(np.concatenate([corners, corners + rng.uniform(40, 80, (1, 512, 2))], axis=2), "float32")
    result = {}
    for dtype in ("float32", "bfloat16", "float16"):
        with tf.GradientTape() as tape:
            tape.watch(features)
            total = tf.reduce_sum(tf.cast(roi_align({3: tf.cast(features, dtype)}, boxes, 7), "float32"))
        result[dtype] = tape.gradient(total, features).numpy()
    for dtype in ("bfloat16", "float16"):  # a running sum in bfloat16 would stop at 256
        np.testing.assert_allclose(result[dtype], result["float32"], rtol=0.01, atol=0.05)
    assert result["float32"].max() > 256
