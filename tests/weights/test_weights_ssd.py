"""Equal to torchvision's SSD300-VGG16: raw outputs, final boxes, losses and their gradients, with seeded weights."""

import keras
import numpy as np
import parity
import pytest

from visiontasks import api
from visiontasks.heads.ssd import SSD
from visiontasks.model import VisionModel
from visiontasks.weights import checkpoint, ssd


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return parity.detection(tmp_path_factory.mktemp("ssd"), "ssd300_vgg16")


@pytest.fixture(scope="module")
def model(reference):
    # its weights were trained on Caffe's pixels, as the published ones were
    backbone = api.backbone("vgg16", input_shape=(300, 300, 3), ceil_pooling=True)
    pixels = backbone.get_layer("pixels")
    pixels.mean, pixels.std = tuple(255 * np.array([0.48235, 0.45882, 0.40784])), (1.0, 1.0, 1.0)
    model = VisionModel(backbone, SSD(4, **ssd.SSD300))
    assert checkpoint.load_whole(model, reference[1], ssd.layer_of) == []
    return model


@pytest.mark.parametrize("images", ["", "photographs0_"])
def test_raw_outputs_and_final_boxes(model, reference, images):
    expected = parity.outputs(reference[0], images)
    outputs = model(expected["images"])
    got = {key: keras.ops.convert_to_numpy(value) for key, value in outputs.items()}
    assert got["anchors"].shape == (2, 8732, 4)
    np.testing.assert_allclose(got["anchors"][0], expected["anchors"], atol=1e-4)
    for ours, theirs in (("boxes", "raw_bbox_regression"), ("classes", "raw_cls_logits")):
        assert expected[theirs].std() > 0.2
        np.testing.assert_allclose(got[ours], expected[theirs], atol=1e-4, err_msg=ours)
    parity.check_final_boxes(model.decode(outputs), expected, 200)


def test_losses_and_gradients(model, reference):
    names = {"classification": "classification", "localization": "bbox_regression"}
    parity.check_losses_and_gradients(model, reference[0], ssd.layer_of, names)
