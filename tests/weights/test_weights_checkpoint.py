"""Checkpoint files of other frameworks, written here by hand as their formats say."""

import json
import struct

import keras
import numpy as np
import pytest

from visiontasks import api
from visiontasks.errors import UserError
from visiontasks.weights.checkpoint import dense_layers
from visiontasks.weights.safetensors_file import read_safetensors_file

NAMES = {np.dtype("f4"): "F32", np.dtype("f2"): "F16", np.dtype("i8"): "I64", np.dtype("?"): "BOOL"}


def write(path, arrays, **changes):
    header, content = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        begin, content = len(content), content + array.tobytes()
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [begin, len(content)],
            **changes,
        }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


ARRAYS = {"a.weight": np.arange(6, dtype="f4").reshape(2, 3), "b": np.array([1.5, -2], "f2"), "n": np.array(7, "i8")}


def test_safetensors_come_back(tmp_path):
    got = read_safetensors_file(write(tmp_path / "a.safetensors", ARRAYS))
    assert got.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(got[name], array)
        assert got[name].dtype == array.dtype


def test_bfloat16_becomes_float32(tmp_path):
    upper = np.array([0x3FC0, 0xC000], "<u2").view("f2")  # 1.5 and -2
    got = read_safetensors_file(write(tmp_path / "a.safetensors", {"a": upper}, dtype="BF16"))
    np.testing.assert_array_equal(got["a"], np.array([1.5, -2], "f4"))


@pytest.mark.parametrize(
    "changes", [{"data_offsets": [0, 1000]}, {"data_offsets": [4, 0]}, {"shape": [3]}, {"dtype": "F8"}, {"dtype": None}]
)
def test_a_header_that_lies_is_refused(tmp_path, changes):
    with pytest.raises(UserError, match="damaged or incomplete"):
        read_safetensors_file(write(tmp_path / "a.safetensors", {"a": ARRAYS["a.weight"]}, **changes))


def test_tensors_that_share_their_bytes_are_refused(tmp_path):
    arrays = {name: np.ones(100, "f4") for name in "abc"}
    with pytest.raises(UserError, match="damaged or incomplete"):
        read_safetensors_file(write(tmp_path / "a.safetensors", arrays, data_offsets=[0, 400]))


def test_types_that_numpy_lacks_are_refused_by_name(tmp_path):
    path = write(tmp_path / "a.safetensors", {"a": np.zeros(4, "?")}, dtype="F8_E4M3")
    with pytest.raises(UserError, match="a: numbers of type F8_E4M3, expected one of F64"):
        read_safetensors_file(path)


NESTED = b"[" * 100_000


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", len(NESTED)) + NESTED,
        b"",
        b"abc",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2) + b"[]",
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged or incomplete"):
        read_safetensors_file(path)
    with pytest.raises(UserError, match="no such file"):
        read_safetensors_file(tmp_path / "none.safetensors")


def torch_arrays(backbone):
    """A ResNet-18's tensors under torchvision's names and in its order of axes, each filled by its place."""
    arrays = {}
    back = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    rng = np.random.default_rng(0)
    for layer in backbone.layers:
        for variable in layer.weights:
            array = rng.uniform(0.5, 1, variable.shape).astype("f4")
            module = layer.name.replace("shortcut_conv", "downsample.0").replace("shortcut_bn", "downsample.1")
            if module.startswith("layer"):
                stage, block, rest = module.split("_")
                module = f"{stage}.{block}.{rest}"
            name = back.get(variable.name, "weight")
            arrays[f"{module}.{name}"] = array.transpose(3, 2, 0, 1).copy() if array.ndim == 4 else array
    return arrays


def test_a_checkpoint_in_safetensors_reaches_every_weight(tmp_path):
    arrays = torch_arrays(api.backbone("resnet18"))
    arrays |= {"fc.weight": np.ones((10, 512), "f4"), "fc.bias": np.zeros(10, "f4")}
    path = str(write(tmp_path / "resnet18.safetensors", arrays))
    loaded = api.backbone("resnet18", weights=path)
    kernel = keras.ops.convert_to_numpy(loaded.get_layer("layer2_0_shortcut_conv").kernel)
    np.testing.assert_array_equal(kernel, arrays["layer2.0.downsample.0.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(loaded.get_layer("bn1").moving_variance, arrays["bn1.running_var"])
    ((kernel, bias),) = dense_layers(path, ("fc",))
    assert kernel.shape == (512, 10) and bias.shape == (10,)


def test_what_does_not_fit_is_listed_or_with_strict_off_skipped_and_reported(tmp_path):
    arrays = torch_arrays(api.backbone("resnet18"))
    arrays["other.weight"] = arrays.pop("conv1.weight")
    arrays["layer1.0.bn1.bias"] = np.zeros(3, "f4")
    path = str(write(tmp_path / "a.safetensors", arrays))
    with pytest.raises(UserError) as caught:
        api.backbone("resnet18", weights=path)
    for text in ("missing: conv1/kernel", "unexpected: other.weight", "wrong shape: layer1_0_bn1/beta expected (64,)"):
        assert text in str(caught.value)
    with pytest.warns(UserWarning, match="missing: conv1/kernel.*unexpected: other.weight"):
        loaded = api.backbone("resnet18", weights=path, strict=False)
    np.testing.assert_array_equal(loaded.get_layer("bn1").gamma, arrays["bn1.weight"])


def test_flattened_maps_change_their_order(tmp_path):
    """PyTorch flattens (channel, row, column), Keras (row, column, channel)."""
    maps = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("f4")  # rows, columns, channels
    weight = np.random.default_rng(1).normal(size=(5, 24)).astype("f4")
    expected = weight @ maps.transpose(2, 0, 1).ravel()
    path = write(tmp_path / "a.safetensors", {"fc.weight": weight, "fc.bias": np.zeros(5, "f4")})
    ((kernel, _),) = dense_layers(path, ("fc",), grid=(2, 3))
    np.testing.assert_allclose(maps.ravel() @ kernel, expected, rtol=1e-5)
    with pytest.raises(UserError, match="missing head.weight, head.bias"):
        dense_layers(path, ("head",))


def test_a_file_of_which_nothing_fits_is_an_error_with_strict_off_too(tmp_path):
    path = str(write(tmp_path / "a.safetensors", {"other.weight": np.zeros((3, 3), "f4")}))
    with pytest.raises(UserError, match=r"does not fit resnet18(.|\n)*and \d+ more"):
        api.backbone("resnet18", weights=path, strict=False)


def test_what_data_parallel_puts_before_each_name_is_left_out(tmp_path):
    arrays = torch_arrays(api.backbone("resnet18"))
    path = str(write(tmp_path / "a.safetensors", {f"module.{name}": array for name, array in arrays.items()}))
    np.testing.assert_array_equal(api.backbone("resnet18", weights=path).get_layer("bn1").gamma, arrays["bn1.weight"])
