"""Equal to torchvision's Keypoint R-CNN on ResNet-50: keypoints, their logits, losses, gradients, seeded weights."""

import cv2
import keras
import numpy as np
import parity
import pytest

from visiontasks import api
from visiontasks.heads.keypoint_rcnn import KeypointRCNN
from visiontasks.inference.keypoint_maps import keypoints_of
from visiontasks.model import VisionModel
from visiontasks.weights import checkpoint, rcnn

POINTS = 5
TERMS = {"objectness": "objectness", "rpn_box": "rpn_box_reg", "classification": "classifier"}
TERMS = {ours: f"loss_{theirs}" for ours, theirs in (TERMS | {"localization": "box_reg"}).items()}
TERMS["keypoints"] = "loss_keypoint"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return parity.detection(tmp_path_factory.mktemp("keypoint_rcnn"), "keypointrcnn_resnet50_fpn")


@pytest.fixture(scope="module")
def model(reference):
    head = KeypointRCNN(4, **rcnn.HEAD, skeleton={"names": range(POINTS)}, **parity.RCNN_COUNTS, detections=10)
    # the script's random choice is of the first ones
    head.keys = lambda shape, training: keras.ops.expand_dims(keras.ops.arange(shape[1], dtype="float32"), 0)
    model = VisionModel(api.backbone("resnet50", norm="frozen_batch"), head)
    assert checkpoint.load_whole(model, reference[1], rcnn.layer_of, grids=rcnn.GRIDS) == []
    return model


def test_it_has_torchvisions_parameters(without_weights):
    network = api.backbone("resnet50", input_shape=(64, 64, 3), norm="frozen_batch")
    model = VisionModel(network, KeypointRCNN(1, **rcnn.HEAD))
    counted = [weight for weight in model.weights if weight.path.endswith(("kernel", "bias"))]
    assert sum(np.prod(weight.shape) for weight in counted) == 59_137_258


@pytest.mark.parametrize("images", ["", "photographs0_"])
def test_keypoints_of_the_final_boxes(model, reference, images):
    expected = parity.outputs(reference[0], images)
    predictions = model.decode(model(expected["images"]))
    parity.check_final_boxes(predictions, expected, count=10)
    found = {key: keras.ops.convert_to_numpy(value) for key, value in predictions.items()}
    compared = 0
    for i in range(2):
        boxes, classes = (expected[f"final_{key}{i}"] for key in ("boxes", "classes"))
        # two whose scores differ by less than rounding may have changed places
        apart = np.abs(found["boxes"][i][None, : len(boxes)] - boxes[:, None]).max(axis=-1)
        apart += 1e3 * (found["classes"][i][None, : len(boxes)] != classes[:, None])
        order = apart.argmin(axis=1)
        # with their boxes: a box that is 0.01 pixels wider may be one whole pixel wider
        keypoints, logits = keypoints_of(found["keypoint_maps"][i][order], boxes, [0.07] * POINTS)
        theirs = expected[f"final_keypoints{i}"][..., :2]
        np.testing.assert_allclose(logits, expected[f"final_logits{i}"], atol=1e-3)
        off = np.linalg.norm(keypoints[..., :2] - theirs, axis=-1)
        # where two pixels of a map are all but equal, either may be the highest
        for row, number in np.argwhere(off >= 0.05):
            level = at(found["keypoint_maps"][i][order[row]][..., number], boxes[row], theirs[row, number])
            assert abs(level - logits[row, number]) < 1e-3, (row, number, off[row, number])
        compared += off.size
        assert keypoints[..., 2].min() > 0 and keypoints[..., 2].max() <= 1
    assert compared == 2 * 10 * POINTS


def at(cells, box, place):
    """The value of a map, enlarged to a box's pixels, at a place in the image."""
    extent = np.maximum(box[2:] - box[:2], 1)
    size = np.ceil(extent).astype(int)
    cells = cv2.resize(cells, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    pixels = cv2.resize(cells, size.tolist(), interpolation=cv2.INTER_CUBIC)
    column, row = ((place - box[:2]) * size / extent).astype(int)
    return pixels[row, column]


def test_losses_and_gradients(model, reference):
    expected = reference[0]
    points = {"keypoints": expected["keypoints"]}
    parity.check_losses_and_gradients(model, expected, rcnn.layer_of, TERMS, points, deep=["keypoint_head"])
