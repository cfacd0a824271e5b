"""TensorFlow.js models are written here by json and NumPy; the published PoseNet is computed from its nodes."""

import base64
import copy
import json
from pathlib import Path

import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.weights.tfjs_files import read_tfjs_files

FOLDER = Path(__file__).resolve().parents[2] / "../shared/weights/posenet"
KERNEL = np.arange(12, dtype="<f4").reshape(3, 4)


def text(value):
    return {"s": base64.b64encode(value.encode()).decode()}


MODEL = {
    "format": "graph-model",
    "modelTopology": {
        "node": [
            {"name": "out", "op": "MatMul", "input": ["image", "kernel"], "attr": {"padding": text("SAME")}},
            {"name": "kernel", "op": "Const", "attr": {"dtype": {"type": "DT_FLOAT"}, "value": {"tensor": {}}}},
            {
                "name": "image",
                "op": "Placeholder",
                "attr": {
                    "shape": {"shape": {"dim": [{"size": "-1"}, {"size": "3"}]}},
                    "any": {"shape": {"unknownRank": True}},
                    "strides": {"list": {"i": ["1", "2"]}},
                    "names": {"list": {"s": [text("a")["s"]]}},
                    "none": {"list": {}},
                    "keep": {"b": True},
                    "count": {"i": "7"},
                    "epsilon": {"f": 0.5},
                    "body": {"func": {"name": "f"}},
                },
            },
        ]
    },
    "weightsManifest": [
        {"paths": ["a.bin"], "weights": [{"name": "kernel", "shape": [3, 4], "dtype": "float32"}]},
    ],
}


def write(folder, shards=None, **changes):
    for name, data in ({"a.bin": KERNEL.tobytes()} if shards is None else shards).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    path = folder / "model.json"
    path.write_text(json.dumps({**MODEL, **changes}))
    return path


def group(paths, *weights):
    return {"paths": paths, "weights": [dict(zip(("name", "shape", "dtype"), w, strict=False)) for w in weights]}


def test_a_model(tmp_path):
    graph = read_tfjs_files(write(tmp_path))
    assert list(graph.nodes) == ["out", "kernel", "image"]
    assert graph.nodes["out"] == ("MatMul", ("image", "kernel"), {"padding": "SAME"})
    assert graph.nodes["kernel"].attributes == {"dtype": "float32"}
    assert graph.nodes["image"].attributes == {
        "shape": (-1, 3),
        "any": None,
        "strides": [1, 2],
        "names": ["a"],
        "none": [],
        "keep": True,
        "count": 7,
        "epsilon": 0.5,
    }
    assert list(graph.constants) == ["kernel"] and graph.constants["kernel"].flags.writeable
    np.testing.assert_array_equal(graph.constants["kernel"], KERNEL, strict=True)


def test_weights_run_over_the_ends_of_shards(tmp_path):
    data = KERNEL.tobytes() + np.int32([-5, 6]).tobytes() + b"\x01\x00\x01"
    shards = {"a.bin": data[:10], "deeper/b.bin": data[10:49], "c.bin": data[49:], "d.bin": b"\x07"}
    manifest = [
        group(list(shards)[:3], ("kernel", [3, 4], "float32"), ("n", [2], "int32"), ("t", [3], "bool")),
        group(["d.bin"], ("byte", [], "uint8")),
    ]
    constants = read_tfjs_files(write(tmp_path, shards, weightsManifest=manifest)).constants
    np.testing.assert_array_equal(constants["kernel"], KERNEL)
    np.testing.assert_array_equal(constants["n"], np.int32([-5, 6]), strict=True)
    np.testing.assert_array_equal(constants["t"], [True, False, True], strict=True)
    assert constants["byte"].shape == () and constants["byte"] == 7


@pytest.mark.parametrize(
    ("stored", "dtype", "options", "expected"),
    [
        ("uint8", "float32", {"scale": 0.5, "min": -1.0}, np.float32([-1, 0, 126.5])),
        ("uint16", "float32", {"scale": 0.25, "min": 2.0}, np.float32([2, 2.5, 65.75])),
        ("uint8", "int32", {"scale": 1.5, "min": -3}, np.int32([-3, 0, 380])),
        ("float16", "float32", {}, np.float32([0, 2, 255])),
    ],
)
def test_quantized_weights(tmp_path, stored, dtype, options, expected):
    data = np.array([0, 2, 255], stored)
    weight = {"name": "kernel", "shape": [3], "dtype": dtype, "quantization": {"dtype": stored, **options}}
    manifest = [{"paths": ["a.bin"], "weights": [weight]}]
    array = read_tfjs_files(write(tmp_path, {"a.bin": data.tobytes()}, weightsManifest=manifest)).constants["kernel"]
    np.testing.assert_array_equal(array, expected, strict=True)


def topology(**changes):
    made = copy.deepcopy(MODEL["modelTopology"])
    made["node"][0].update(changes)
    return {"modelTopology": made}


KERNEL_WEIGHT = ("kernel", [3, 4], "float32")
BROKEN = {
    "a layers model": ({"modelTopology": {"model_config": {}}}, "not a graph model"),
    "no topology": ({"modelTopology": None}, "not a graph model"),
    "a missing input": (topology(input=["other"]), "reads other, which is missing"),
    "a node twice": (topology(name="kernel"), "unique names, got 'kernel'"),
    "not base64": (topology(attr={"padding": {"s": "SAME!"}}), "Error"),
    "no weights": ({"weightsManifest": []}, "no weights for kernel"),
    "no manifest": ({"weightsManifest": None}, "TypeError"),
    "a missing shard": ({"weightsManifest": [group(["b.bin"], KERNEL_WEIGHT)]}, "'b.bin' is missing"),
    "a shard above": ({"weightsManifest": [group(["../a.bin"], KERNEL_WEIGHT)]}, "in the model's folder"),
    "a shard elsewhere": ({"weightsManifest": [group(["/etc/passwd"], KERNEL_WEIGHT)]}, "in the model's folder"),
    "a shard by a link": ({"weightsManifest": [group(["link/a.bin"], KERNEL_WEIGHT)]}, "in the model's folder"),
    "a folder": ({"weightsManifest": [group(["."], KERNEL_WEIGHT)]}, "is missing"),
    "a shard twice": ({"weightsManifest": [group(["a.bin"] * 2, ("kernel", [6, 4], "float32"))]}, "listed twice"),
    "weights twice": (
        {"weightsManifest": [group(["a.bin"], ("kernel", [6], "float32"), ("kernel", [6], "float32"))]},
        "occur twice",
    ),
    "too few weights": ({"weightsManifest": [group(["a.bin"], ("kernel", [11], "float32"))]}, "have 44 bytes"),
    "too many": ({"weightsManifest": [group(["a.bin"], ("kernel", [13], "float32"))]}, "expected 52 bytes, got 48"),
    "absurdly many": (
        {"weightsManifest": [group(["a.bin"], ("kernel", [2**40, 2**40], "float32"))]},
        "bytes, got 48",
    ),
    "a negative length": ({"weightsManifest": [group(["a.bin"], ("kernel", [-3, -4], "float32"))]}, "and a shape"),
    "strings": ({"weightsManifest": [group(["a.bin"], ("kernel", [3], "string"))]}, "got string"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_is_an_error_that_says_why(tmp_path, name):
    changes, message = BROKEN[name]
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "a.bin").write_bytes(KERNEL.tobytes())
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        read_tfjs_files(write(folder, **changes))
    assert caught.value.argument == "weights" and "model.json" in str(caught.value)


def test_truncated_files_are_errors(tmp_path):
    path = write(tmp_path)
    for name in ("model.json", "a.bin"):
        whole = (tmp_path / name).read_bytes()
        for length in range(0, len(whole), 7):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(UserError, match="damaged or incomplete"):
                read_tfjs_files(path)
        (tmp_path / name).write_bytes(whole)
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="damaged or incomplete"):
        read_tfjs_files(path)
    with pytest.raises(UserError, match="no such file exists"):
        read_tfjs_files(tmp_path / "missing.json")


def computed(graph, image):
    """The outputs of PoseNet's kinds of nodes, by TensorFlow: {name: array} of all nodes."""
    tf = pytest.importorskip("tensorflow")
    values = {"image": tf.constant(image), **graph.constants}

    def value(name):
        if name not in values:
            node = graph.nodes[name]
            x, kernel, bias = (value(read) for read in node.inputs)
            depthwise = "Depthwise" in node.op
            function = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
            x = function(x, kernel, node.attributes["strides"], node.attributes["padding"]) + bias
            values[name] = tf.nn.relu6(x) if "Relu6" in node.attributes["fused_ops"] else x
        return values[name]

    return {name: np.asarray(value(name)) for name in graph.nodes}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="needs ../shared/weights/posenet")
def test_the_published_posenet():
    graph = read_tfjs_files(FOLDER / "posenet.json")
    assert len(graph.constants) == 62 and sum(array.size for array in graph.constants.values()) == 1_258_195
    assert len(graph.nodes) == 94
    name, maps = "000000109313", {"heatmap": "heat_logit", "offset": "offset"}
    maps |= {"displacement_fwd": "displacement_fwd", "displacement_bwd": "displacement_bwd"}
    with np.load(FOLDER / "reference.npz") as reference:
        values = computed(graph, reference[f"{name}/input"][None].astype("float32") / 127.5 - 1)
        for output, key in maps.items():
            # stored in steps of 1 / 32 pixel and in float16
            np.testing.assert_allclose(
                values[f"MobilenetV1/{output}_2/BiasAdd"][0], reference[f"{name}/{key}"], atol=0.1, err_msg=key
            )
        logits = values["MobilenetV1/heatmap_2/BiasAdd"][0]
        np.testing.assert_allclose(logits, reference[f"{name}/heat_logit"], atol=5e-3)
