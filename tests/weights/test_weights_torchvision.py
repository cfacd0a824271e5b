"""Equal to torchvision: it predicts under its own Python with seeded random weights, we read its checkpoint."""

import tempfile
from pathlib import Path

import keras
import numpy as np
import parity
import pytest

from visiontasks import api
from visiontasks.errors import UserError
from visiontasks.heads.classifier import Classifier
from visiontasks.model import VisionModel
from visiontasks.weights import torchvision
from visiontasks.weights.imagenet import imagenet_classifier

OURS = {"resnext50_32x4d": "resnext50", "wide_resnet50_2": "wide_resnet50"}
# vgg11 is vgg16 with fewer convolutions: test_backbones_cost.py has its published number of parameters
MODELS = ["alexnet", "vgg16", "vgg16_bn", "googlenet", "resnet18", "resnet50", "resnext50_32x4d"]
MODELS += ["wide_resnet50_2", "inception_v3", "efficientnet_b0", "resnet50_dilated"]


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_every_level_equal_torchvision(name, without_weights):
    """Ours start as zeros: what the file does not fill shows."""
    with tempfile.TemporaryDirectory() as folder:
        parity.run("torchvision_backbones.py", folder, name)
        expected, weights = np.load(Path(folder, f"{name}.npz")), str(Path(folder, f"{name}.pth"))
        images, ours = expected["images"], OURS.get(name, name.removesuffix("_dilated"))
        dilated = {"output_stride": 8} if name.endswith("_dilated") else {}
        backbone = api.backbone(ours, weights=weights, input_shape=images.shape[1:], **dilated)
        heads, layers = {}, {}
        for tap in {"logits", "aux1", "aux2"} & set(expected):
            arguments, layers[tap] = imagenet_classifier(ours, weights, None if tap == "logits" else tap)
            heads[tap] = Classifier(**arguments, tap=None if tap == "logits" else tap, name=tap)
        model = VisionModel(backbone, heads)
        for tap, head in heads.items():
            head.set_dense_layers(layers[tap])
        got = {**backbone(images), **model(images)}
    compared = set(expected) - {"images"}
    assert {"logits", "C2", "C3", "C4", "C5"} <= compared
    for key in compared:
        reference, output = expected[key], keras.ops.convert_to_numpy(got[key])
        assert reference.std() > 0.1, f"{key}: the reference says nothing definite"
        np.testing.assert_allclose(output, reference, atol=1e-4, rtol=0, err_msg=key)


def test_a_variant_that_is_not_published_is_named():
    with pytest.raises(UserError, match="imagenet:v2, imagenet:v1"):
        torchvision.file_of("resnet50", "imagenet:v3")
    with pytest.raises(UserError, match="Use null or a file"):
        torchvision.file_of("unet_encoder", "imagenet")


def test_what_is_no_name_of_weights_comes_back():
    assert torchvision.file_of("resnet50", None) is None
    assert torchvision.file_of("resnet50", "a/imagenet.pth") == "a/imagenet.pth"


def test_a_download_is_checked_against_its_name(monkeypatch, tmp_path):
    content = b"weights"
    digest = "a6c1b4e7"  # not the SHA-256 of that
    file = tmp_path / f"net-{digest}.pth"
    file.write_bytes(content)
    monkeypatch.setattr(keras.utils, "get_file", lambda *args, **kwargs: str(file))
    with pytest.raises(UserError, match="not the published file"):
        torchvision.download(file.name)
    import hashlib

    good = tmp_path / f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    good.write_bytes(content)
    monkeypatch.setattr(keras.utils, "get_file", lambda *args, **kwargs: str(good))
    assert torchvision.download(good.name) == good


def test_no_network_says_where_the_file_belongs(monkeypatch):
    def fails(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(keras.utils, "get_file", fails)
    with pytest.raises(UserError, match="resnet50-11ad3fa6.pth could not be downloaded"):
        api.backbone("resnet50", weights="imagenet")


def test_the_best_comes_first():
    for variants in torchvision.CHECKPOINTS.values():
        published = [top1 for _, top1 in variants.values() if top1]
        assert published == sorted(published, reverse=True)
        for file, _ in variants.values():
            digest = file.removesuffix(".pth").rpartition("-")[2]
            assert len(digest) == 8 and int(digest, 16) >= 0


def test_the_features_of_caffe_are_known_also_as_a_file(tmp_path):
    """Offline, the file is given by its path: nothing in it says that its pixels were never divided."""
    assert torchvision.variant_of("vgg16", "imagenet:features") == "features"
    file = torchvision.CHECKPOINTS["vgg16"]["features"][0]
    assert torchvision.variant_of("vgg16", f"/somewhere/{file}") == "features"
    assert torchvision.variant_of("vgg16", "/somewhere/else.pth") is None
    assert torchvision.variant_of("vgg16", None) is None
    assert torchvision.variant_of("resnet50", "imagenet") == "v2"
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(UserError, match="never trained"):
        imagenet_classifier("vgg16", str(tmp_path / file))
