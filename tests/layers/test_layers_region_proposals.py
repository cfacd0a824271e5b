"""Proposals against a slow loop: the best of each level, cut, suppressed level by level, the best of all."""

import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.layers.region_proposals import RegionProposals, propose


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow(logits, deltas, anchors, size, candidates, count, iou_threshold, smallest):
    result = []
    for scores, level_deltas, boxes in zip(logits, deltas, anchors, strict=True):
        kept = []
        for i in np.argsort(-scores, kind="stable")[:candidates]:
            x1, y1, x2, y2 = np.float64(boxes[i])
            width, height = x2 - x1, y2 - y1
            x, y = (x1 + x2) / 2 + level_deltas[i, 0] * width, (y1 + y2) / 2 + level_deltas[i, 1] * height
            width, height = width * np.exp(level_deltas[i, 2]), height * np.exp(level_deltas[i, 3])
            box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
            box = np.clip(box, 0, [size[1], size[0]] * 2)
            if min(box[2:] - box[:2]) >= smallest and all(iou(box, other) <= iou_threshold for _, other in kept):
                kept.append((scores[i], box))
        result += kept
    return [box for _, box in sorted(result, key=lambda one: -one[0])[:count]]


@pytest.mark.parametrize(("candidates", "count"), [(20, 15), (1000, 200)])
def test_equals_the_slow_loop(candidates, count):
    rng = np.random.default_rng(0)
    numbers = (700, 60, 5)  # more than a block of candidates, fewer than asked for, almost none
    logits = [rng.normal(size=(2, n)).astype("float32") for n in numbers]
    deltas = [rng.normal(size=(2, n, 4)).astype("float32") * 0.3 for n in numbers]
    corners = [rng.uniform(-30, 110, (2, n, 2)) for n in numbers]
    anchors = [np.concatenate([c, c + rng.uniform(5, 40, c.shape)], -1).astype("float32") for c in corners]
    size = np.float32([[100, 120], [90, 80]])
    bounds = {"candidates": candidates, "count": count, "iou_threshold": 0.5, "smallest": 2.0}
    got = propose(logits, deltas, anchors, size, **bounds)
    result, valid = (ops.convert_to_numpy(got[key]) for key in ("boxes", "valid"))
    assert result.shape == (2, min(count, sum(min(candidates, n) for n in numbers)), 4)
    for i in range(2):
        expected = slow(*([x[i] for x in part] for part in (logits, deltas, anchors)), size[i], **bounds)
        assert valid[i].sum() == len(expected) > 0 and valid[i, : len(expected)].all()
        np.testing.assert_allclose(result[i, : len(expected)], expected, atol=1e-3)
        assert not result[i, len(expected) :].any()


def test_outputs_are_in_the_order_of_the_anchors():
    """Row by row, cell by cell, anchor by anchor, in float32 whatever the policy."""
    layer = RegionProposals(4, 3, dtype="mixed_bfloat16")
    x = np.zeros((1, 2, 2, 4), "float32")
    x[0, 1, 0] = 1
    layer([ops.convert_to_tensor(x)])
    kernel = np.zeros((3, 3, 4, 4), "float32")
    kernel[1, 1] = np.eye(4)
    layer.conv.set_weights([kernel, np.zeros(4)])
    layer.objectness.set_weights([np.zeros((1, 1, 4, 3)) + [1, 2, 3], np.zeros(3)])
    layer.boxes.set_weights([np.zeros((1, 1, 4, 12)) + np.arange(12), np.zeros(12)])
    (logits,), (deltas,) = layer([ops.convert_to_tensor(x)])
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(logits)[0], [0, 0, 0, 0, 0, 0, 4, 8, 12, 0, 0, 0])
    np.testing.assert_array_equal(ops.convert_to_numpy(deltas)[0, 6:9], 4 * np.arange(12).reshape(3, 4))
    assert layer.compute_output_shape([x.shape]) == ([(1, 12)], [(1, 12, 4)])
    assert RegionProposals.from_config(layer.get_config()).get_config() == layer.get_config()
