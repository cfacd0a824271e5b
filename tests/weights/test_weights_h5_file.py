"""Keras 2's HDF5 files are written here by h5py, in the layout that Keras gave them."""

import os
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.weights.h5_file import read_h5_file

PUBLISHED = Path(__file__).resolve().parents[2] / "../shared/weights/efficientpose"
KERNEL = np.arange(24, dtype="float32").reshape(2, 3, 4)
BIAS = np.float32([1, 2, 3, 4])
LAYERS = {"conv": {"conv/kernel:0": KERNEL, "conv/bias:0": BIAS}, "flat": {}}


def write(path, layers=LAYERS, root="model_weights", **options):
    with h5py.File(path, "w") as file:
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = '{"class_name": "Lambda", "config": {"function": ["4wEAAAAA", null, null]}}'
        group = file.create_group(root) if root else file
        group.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, weights in layers.items():
            inner = group.create_group(layer)
            inner.attrs["weight_names"] = np.array([name.encode() for name in weights], "S40")
            for name, array in weights.items():
                inner.create_dataset(name, data=array, **options)
    return path


@pytest.mark.parametrize("root", ["model_weights", None])
def test_a_whole_model_and_a_weights_file(tmp_path, root):
    arrays = read_h5_file(write(tmp_path / "m.h5", root=root))
    assert set(arrays) == {"conv/kernel", "conv/bias"}
    np.testing.assert_array_equal(arrays["conv/kernel"], KERNEL)
    np.testing.assert_array_equal(arrays["conv/bias"], BIAS)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "bool"])
def test_types_are_kept(tmp_path, dtype):
    array = read_h5_file(write(tmp_path / "m.h5", {"a": {"a/w:0": KERNEL.astype(dtype)}}))["a/w"]
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, KERNEL.astype(dtype))


def test_layers_with_slashes_models_in_models_and_scalars(tmp_path):
    layers = {"a/b": {"a/b/w:0": KERNEL}, "inner": {"c/w:0": BIAS, "d/w:0": np.float32(3)}}
    arrays = read_h5_file(write(tmp_path / "m.h5", layers))
    assert set(arrays) == {"a/b/w", "inner/c/w", "inner/d/w"} and arrays["inner/d/w"] == 3


def test_a_long_list_of_weights_is_stored_in_parts(tmp_path):
    path = write(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        names = file["model_weights/conv"].attrs
        del names["weight_names"]
        names["weight_names0"], names["weight_names1"] = [b"conv/kernel:0"], [b"conv/bias:0"]
    assert set(read_h5_file(path)) == {"conv/kernel", "conv/bias"}


def test_no_attribute_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "m.h5")
    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", lambda *_: pytest.fail("an attribute was read"))
    assert len(read_h5_file(path)) == 2


def test_a_model_that_keras_saves(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
    model.save(tmp_path / "m.h5")
    arrays = read_h5_file(tmp_path / "m.h5")
    assert arrays.keys() == {"dense/kernel", "dense/bias"}
    for name, value in zip(("dense/kernel", "dense/bias"), model.get_weights(), strict=True):
        np.testing.assert_array_equal(arrays[name], value)


def broken(change):
    def make(folder):
        path = write(folder / "m.h5")
        with h5py.File(path, "r+") as file:
            change(file, file["model_weights"])
        return path

    return make


def replaced(make):
    """A file whose bias is what `make(group, name)` makes."""

    def change(file, root):
        del root["conv/conv/bias:0"]
        make(root["conv/conv"], "bias:0")

    return broken(change)


def linked_layer(link):
    def change(file, root):
        del root["conv"]
        root["conv"] = link

    return broken(change)


def soft(group, name, target):
    group[name] = h5py.SoftLink(target)


def many_links(file, root):
    root["conv/0"] = np.zeros(5000, "float32")
    for n in range(1, 20):
        root[f"conv/{n}"] = root["conv/0"]


def virtual(group, name):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    group.create_virtual_dataset(name, layout)


def external(group, name):
    group.create_dataset(name, (4,), "f4", external=[("/etc/passwd", 0, 16)])


BROKEN = {
    "no layers": (
        broken(lambda file, root: [root[name].attrs.__delitem__("weight_names") for name in root]),
        "no weights of layers",
    ),
    "no weights": (lambda folder: write(folder / "m.h5", {"a": {}}), "no weights of layers"),
    "an external link": (linked_layer(h5py.ExternalLink("other.h5", "/conv")), "conv is a link"),
    "a soft link": (linked_layer(h5py.SoftLink("/model_weights/flat")), "conv is a link"),
    "a link to an array": (
        replaced(lambda group, name: group.__setitem__(name, h5py.ExternalLink("other.h5", "/x"))),
        "bias:0 is a link",
    ),
    "linked model_weights": (
        broken(lambda file, root: (file.move("model_weights", "m"), soft(file, "model_weights", "/m"))),
        "model_weights is a link",
    ),
    "a group within itself": (
        broken(lambda file, root: root.__setitem__("conv/conv/again", root["conv"])),
        "conv/again occurs twice",
    ),
    "an external array": (replaced(external), "lies in another file"),
    "a virtual array": (replaced(virtual), "lies in another file"),
    "texts": (
        replaced(lambda group, name: group.create_dataset(name, data=["a"], dtype=h5py.string_dtype())),
        "has the type object",
    ),
    "records": (
        replaced(lambda group, name: group.create_dataset(name, data=np.zeros(2, [("a", "f4")]))),
        "expected numbers",
    ),
    "nothing": (replaced(lambda group, name: group.create_dataset(name, data=h5py.Empty("f4"))), "is no array"),
    "a compressed array": (lambda folder: write(folder / "m.h5", compression="gzip"), "is compressed"),
    "an absurd size": (
        replaced(lambda group, name: group.create_dataset(name, (2**40, 2**20), "f4", chunks=(4, 4))),
        "more than the file holds",
    ),
    "an array linked again and again": (broken(many_links), "more than the file holds"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_an_error_that_says_why(tmp_path, name):
    make, text = BROKEN[name]
    path = make(tmp_path)
    with pytest.raises(UserError, match=text) as caught:
        read_h5_file(path)
    assert caught.value.argument == "weights" and str(path) in str(caught.value)


def test_a_truncated_or_foreign_file_is_an_error(tmp_path):
    whole = write(tmp_path / "m.h5").read_bytes()
    path = tmp_path / "cut.h5"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="not a readable"):
            read_h5_file(path)
    for data in (b"PK\x03\x04" + os.urandom(500), b"\x89HDF\r\n\x1a\n" + bytes(500), b"not a file of weights"):
        path.write_bytes(data)
        with pytest.raises(UserError, match="not a readable"):
            read_h5_file(path)
    with pytest.raises(UserError, match="no such file exists"):
        read_h5_file(tmp_path / "missing.h5")


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs ../shared/weights/efficientpose")
@pytest.mark.parametrize(("variant", "arrays", "numbers"), [("RT", 278, 465_608), ("I", 387, 726_116)])
def test_the_published_files(variant, arrays, numbers):
    read = read_h5_file(PUBLISHED / f"EfficientPose{variant}.h5")
    assert len(read) == arrays and sum(array.size for array in read.values()) == numbers
    assert read["stem_conv_res1/kernel"].shape == (3, 3, 3, 32)
    # the names in a layer's group may differ from the layer's
    assert ("stem_conv_res2/kernel" in read) == (variant == "I")
