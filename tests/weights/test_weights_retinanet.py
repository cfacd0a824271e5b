"""Equal to torchvision's RetinaNet on ResNet-50: raw outputs, final boxes, losses and gradients, seeded weights."""

import keras
import numpy as np
import parity
import pytest

from visiontasks import api
from visiontasks.heads.retinanet import RetinaNet
from visiontasks.model import VisionModel
from visiontasks.weights import checkpoint, retinanet


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return parity.detection(tmp_path_factory.mktemp("retinanet"), "retinanet_resnet50_fpn")


@pytest.fixture(scope="module")
def model(reference):
    model = VisionModel(api.backbone("resnet50", norm="frozen_batch"), RetinaNet(4, **retinanet.HEAD))
    assert checkpoint.load_whole(model, reference[1], retinanet.layer_of) == []
    return model


@pytest.mark.parametrize("images", ["", "b_", *(f"photographs{i}_" for i in range(2))])
def test_raw_outputs_and_final_boxes(model, reference, images):
    expected = parity.outputs(reference[0], images)
    outputs = model(expected["images"])
    for ours, theirs in (("boxes", "raw_bbox_regression"), ("classes", "raw_cls_logits")):
        assert expected[theirs].std() > 0.2
        got = keras.ops.convert_to_numpy(keras.ops.concatenate(outputs[ours], axis=1))
        np.testing.assert_allclose(got, expected[theirs], atol=1e-4, err_msg=ours)
    got = keras.ops.convert_to_numpy(keras.ops.concatenate(outputs["anchors"], axis=1))
    np.testing.assert_array_equal(got[0], expected["anchors"])
    parity.check_final_boxes(model.decode(outputs), expected, None if images.startswith("photographs") else 300)


def test_losses_and_gradients(model, reference):
    parity.check_losses_and_gradients(
        model,
        reference[0],
        retinanet.layer_of,
        {"classification": "classification", "localization": "bbox_regression"},
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("head.classification_head.conv.6", "head.classification_head.conv.3.0"),
        ("head.regression_head.conv.0", "head.regression_head.conv.0.0"),
        ("backbone.fpn.inner_blocks.2", "backbone.fpn.inner_blocks.2.0"),
    ],
)
def test_names_of_older_files_mean_the_same(old, new):
    assert retinanet.layer_of(old) == retinanet.layer_of(new) != old
