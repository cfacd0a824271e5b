"""Equal to torchvision's Faster R-CNN on ResNet-50: both stages, final boxes, losses, gradients, seeded weights."""

import keras
import numpy as np
import parity
import pytest

from visiontasks import api
from visiontasks.heads.rcnn import RCNN
from visiontasks.model import VisionModel
from visiontasks.weights import checkpoint, rcnn


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return parity.detection(tmp_path_factory.mktemp("rcnn"), "fasterrcnn_resnet50_fpn")


@pytest.fixture(scope="module")
def model(reference):
    head = RCNN(4, **rcnn.HEAD, **parity.RCNN_COUNTS)
    # the script's random choice is of the first ones
    head.keys = lambda shape, training: keras.ops.expand_dims(keras.ops.arange(shape[1], dtype="float32"), 0)
    model = VisionModel(api.backbone("resnet50", norm="frozen_batch"), head)
    assert checkpoint.load_whole(model, reference[1], rcnn.layer_of, grids=rcnn.GRIDS) == []
    return model


def same_order(ours, theirs):
    """Our indices of their boxes (N, 4): boxes of almost equal scores may be in another order."""
    order = np.abs(ours[None] - theirs[:, None]).max(-1).argmin(1)
    assert len(set(order)) == len(order) and np.abs(order - np.arange(len(order))).max(initial=0) <= 1
    return order


@pytest.mark.parametrize("images", ["", "b_", *(f"photographs{i}_" for i in range(2))])
def test_raw_outputs_and_final_boxes(model, reference, images):
    expected = parity.outputs(reference[0], images)
    outputs = model(expected["images"])
    got = {key: keras.ops.concatenate(outputs[key], axis=1) for key in ("objectness", "deltas", "anchors")}
    got = {key: keras.ops.convert_to_numpy(value) for key, value in got.items()}
    np.testing.assert_array_equal(got["anchors"][0], expected["anchors"])
    np.testing.assert_allclose(got["objectness"], expected["raw_objectness"][..., 0], atol=1e-4)
    np.testing.assert_allclose(got["deltas"], expected["raw_differences"], atol=1e-4)

    proposals, valid = (keras.ops.convert_to_numpy(outputs[key]) for key in ("proposals", "valid"))
    regions = {key: keras.ops.convert_to_numpy(value) for key, value in outputs["regions"].items()}
    for i in range(2):
        theirs = expected[f"proposals{i}"]
        assert valid[i].sum() == len(theirs)
        drawn = not images.startswith("photographs")
        order = np.arange(len(theirs)) if drawn else same_order(proposals[i][valid[i]], theirs)
        np.testing.assert_allclose(proposals[i][valid[i]][order], theirs, atol=0.01)
        rows = slice(i * len(theirs), (i + 1) * len(theirs))
        logits, deltas = (expected[f"raw_{key}"][rows] for key in ("cls_logits", "bbox_regression"))
        assert logits.std() > 0.5 and deltas.std() > 0.5
        np.testing.assert_allclose(regions["classes"][i][valid[i]][order], logits, atol=1e-4)
        np.testing.assert_allclose(regions["boxes"][i][valid[i]][order].reshape(len(theirs), -1), deltas, atol=1e-4)
    parity.check_final_boxes(model.decode(outputs), expected, 100 if drawn else None)


def test_losses_and_gradients(model, reference):
    names = {"objectness": "objectness", "rpn_box": "rpn_box_reg"}
    names |= {"classification": "classifier", "localization": "box_reg"}
    parity.check_losses_and_gradients(
        model, reference[0], rcnn.layer_of, {ours: f"loss_{theirs}" for ours, theirs in names.items()}
    )


@pytest.mark.parametrize(("old", "new"), [("rpn.head.conv", "rpn.head.conv.0.0")])
def test_names_of_older_files_mean_the_same(old, new):
    assert rcnn.layer_of(old) == rcnn.layer_of(new) != old
