"""Suppression, overlaps, anchors and ROI align equal torchvision's."""

import keras
import numpy as np
import parity
import pytest

from visiontasks.ops import anchors, boxes, nms
from visiontasks.ops.roi_align import roi_align


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ops")
    parity.run("torchvision_ops.py", folder, "ops")
    return dict(np.load(folder / "ops.npz"))


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
@pytest.mark.other_values
def test_suppression_keeps_the_same_boxes(expected, threshold):
    order = np.argsort(-expected["scores"])
    result, scores, classes = (expected[key][order] for key in ("boxes", "scores", "classes"))
    kept = order[array(nms.suppress(result, scores, threshold))]
    np.testing.assert_array_equal(kept, expected[f"nms{threshold}"])
    of_class = [array(nms.suppress(result, scores, threshold, classes == number)) for number in range(3)]
    np.testing.assert_array_equal(order[np.any(of_class, axis=0)], expected[f"batched_nms{threshold}"])


def test_overlaps(expected):
    a, b = expected["boxes"], expected["others"]
    np.testing.assert_allclose(array(boxes.iou(a, b)), expected["box_iou"], atol=1e-6)
    for kind, theirs in (("giou", "generalized"), ("diou", "distance"), ("ciou", "complete")):
        ours = array(boxes.paired_iou(a, b, kind))
        np.testing.assert_allclose(ours, np.diag(expected[f"{theirs}_box_iou"]), atol=1e-5, err_msg=kind)


def test_anchors(expected):
    grids = [(-(-250 // 2**n), -(-330 // 2**n)) for n in (2, 3, 4, 5)]
    ours = anchors.grid_anchors(grids, (250, 330), ((32, 64), (64,), (128,), (256,)))
    np.testing.assert_array_equal(ours, expected["anchors"])


@pytest.mark.other_values
def test_roi_align_over_a_pyramid(expected):
    pyramid = {n: expected[f"level{n}"].transpose(0, 2, 3, 1) for n in (2, 3, 4, 5)}
    ours = array(roi_align(pyramid, expected["proposals"], 7))
    theirs = expected["pooled"].transpose(0, 1, 3, 4, 2)
    assert theirs.std() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
