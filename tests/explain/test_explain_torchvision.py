"""Grad-CAM equals PyTorch's own gradients on torchvision's resnet18, with the same weights."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import parity

from visiontasks import api, explain
from visiontasks.explain.scoring import Explained
from visiontasks.heads.classifier import Classifier
from visiontasks.model import VisionModel
from visiontasks.weights.imagenet import imagenet_classifier


def test_grad_cam_equals_pytorch_on_resnet18():
    with tempfile.TemporaryDirectory() as folder:
        parity.run("grad_cam.py", folder, "resnet18")
        expected, weights = np.load(Path(folder, "grad_cam.npz")), str(Path(folder, "resnet18.pth"))
        images = expected["images"]
        backbone = api.backbone("resnet18", weights=weights, input_shape=images.shape[1:])
        arguments, layers = imagenet_classifier("resnet18", weights, None)
        model = VisionModel(backbone, Classifier(**arguments))
        model.heads["classifier"].set_dense_layers(layers)
    one = Explained(model, images)
    np.testing.assert_array_equal(one.choice.number, expected["classes"])
    _, slopes = one.feature_gradients("C5")
    scale = np.abs(expected["weights"]).max()
    np.testing.assert_allclose(slopes.mean(axis=(1, 2)), expected["weights"], atol=1e-5 * scale)
    large = np.stack([cv2.resize(one, images.shape[2:0:-1]) for one in expected["map"]])
    assert large.max() > 0
    np.testing.assert_allclose(explain.grad_cam(model, images), large, atol=1e-4 * large.max())
