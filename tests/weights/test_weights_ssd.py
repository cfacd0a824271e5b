"""Equal to torchvision's SSD300-VGG16: raw answers, final boxes, losses and their gradients, with seeded weights."""

import keras
import numpy as np
import parity
import pytest

from visiontasks import build
from visiontasks.heads.ssd import SSD
from visiontasks.model import VisionModel
from visiontasks.weights import checkpoint, ssd, transfer


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ssd")
    parity.run("torchvision_detection.py", folder, "ssd300_vgg16")
    return dict(np.load(folder / "ssd300_vgg16.npz")), folder / "ssd300_vgg16.pth"


@pytest.fixture(scope="module")
def model(reference):
    # its weights were trained on Caffe's pixels, as the published ones were
    backbone = build.backbone("vgg16", input_shape=(300, 300, 3), ceil_pooling=True)
    pixels = backbone.get_layer("pixels")
    pixels.mean, pixels.std = tuple(255 * np.array([0.48235, 0.45882, 0.40784])), (1.0, 1.0, 1.0)
    model = VisionModel(backbone, SSD(4, **ssd.SSD300))
    assert checkpoint.load_whole(model, reference[1], ssd.layer_of) == []
    return model


@pytest.fixture(scope="module")
def outputs(model, reference):
    return model(reference[0]["images"])


def test_default_boxes_and_raw_answers(outputs, reference):
    expected, _ = reference
    got = {key: keras.ops.convert_to_numpy(value) for key, value in outputs.items()}
    assert got["anchors"].shape == (2, 8732, 4)
    np.testing.assert_allclose(got["anchors"][0], expected["anchors"], atol=1e-4)
    for ours, theirs in (("boxes", "raw_bbox_regression"), ("classes", "raw_cls_logits")):
        assert expected[theirs].std() > 0.2
        np.testing.assert_allclose(got[ours], expected[theirs], atol=1e-4, err_msg=ours)


def test_final_boxes(model, outputs, reference):
    expected, _ = reference
    found = {key: keras.ops.convert_to_numpy(value) for key, value in model.decode(outputs).items()}
    for i in range(2):
        boxes, scores, classes = (expected[f"final_{key}{i}"] for key in ("boxes", "scores", "classes"))
        assert len(scores) == found["valid"][i].sum() == 200
        np.testing.assert_allclose(found["scores"][i], scores, atol=1e-4)
        # two whose scores differ by less than rounding may have changed places
        for place in range(200):
            near = np.flatnonzero(np.abs(scores - found["scores"][i][place]) < 1e-4)
            same = near[classes[near] == found["classes"][i][place]]
            assert np.abs(boxes[same] - found["boxes"][i][place]).max(-1).min() < 0.01, place


def test_losses_and_gradients(model, reference):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow")
    import tensorflow as tf

    expected, _ = reference
    (head,) = model.heads.values()
    targets = {"boxes": expected["boxes"], "classes": expected["classes"].astype("int32")}
    with tf.GradientTape() as tape:
        losses = head.compute_losses(targets, model(expected["images"]))
        total = sum(losses.values())
    np.testing.assert_allclose(losses["classification"], expected["loss_classification"], rtol=1e-3)
    np.testing.assert_allclose(losses["localization"], expected["loss_bbox_regression"], rtol=1e-3)
    variables = {v.path.removeprefix(f"{head.path}/"): v for v in model.trainable_variables}
    gradients = dict(zip(variables, tape.gradient(total, [v.value for v in variables.values()]), strict=True))
    watched = [key for key in expected if key.startswith("grad_")]
    assert len(watched) == 5
    for key in watched:
        module, _, tensor = key.removeprefix("grad_").rpartition(".")
        name = {"weight": "kernel", "bias": "bias", "scale_weight": "scale"}[tensor]
        theirs = expected[key]
        theirs = transfer.conv_kernel(theirs) if theirs.ndim == 4 else theirs
        ours = gradients[f"{ssd.layer_of(module)}/{name}"].numpy()
        # below a pool two frameworks differ more: where two values are all but equal, either may be the largest
        assert np.abs(ours - theirs).max() < 1e-3 * np.abs(theirs).max(), key
