"""Graphs are written here byte by byte, and by TensorFlow itself where it is installed."""

import struct
from pathlib import Path

import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.weights import frozen_graph
from visiontasks.weights.frozen_graph import read_frozen_graph

PUBLISHED = Path(__file__).resolve().parents[2] / "../shared/weights/openpose_mobilenet_v2_small/graph_opt.pb"
NUMBERS = np.arange(6, dtype="<f4").reshape(2, 3)
CODES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "string": 7, "int64": 9, "bool": 10, "float16": 19}


def varint(value):
    value &= (1 << 64) - 1
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def shape(*lengths):
    return b"".join(field(2, field(1, length)) for length in lengths)


def tensor(kind, lengths, numbers=b""):
    return field(1, CODES[kind]) + field(2, shape(*lengths)) + numbers


def attributes(entries):
    return b"".join(field(5, field(1, name) + field(2, value)) for name, value in entries.items())


def node(name, op, *inputs, **entries):
    body = field(1, name) + field(2, op) + b"".join(field(3, read) for read in inputs) + attributes(entries)
    return field(1, body)


def const(name, value):
    return node(name, "Const", dtype=field(6, 1), value=field(8, value))


def read(folder, data):
    path = folder / "graph.pb"
    path.write_bytes(data)
    return read_frozen_graph(path)


SMALL = node("out", "Conv2D", "image", "kernel:0", "^late", strides=field(1, field(3, b"\x01\x02\x02\x01")))
SMALL += const("kernel", tensor("float32", (2, 3), field(4, NUMBERS.tobytes())))
SMALL += node("late", "NoOp") + node("image", "Placeholder", shape=field(7, shape(1, -1, 3)))


def test_a_graph_keeps_the_order_of_the_file(tmp_path):
    graph = read(tmp_path, SMALL)
    assert list(graph.nodes) == ["out", "kernel", "late", "image"] and list(graph.constants) == ["kernel"]
    assert graph.nodes["out"] == ("Conv2D", ("image", "kernel:0", "^late"), {"strides": [1, 2, 2, 1]})
    assert graph.nodes["image"].attributes == {"shape": (1, -1, 3)}
    assert graph.constants["kernel"].dtype == "float32" and graph.constants["kernel"].flags.writeable
    np.testing.assert_array_equal(graph.constants["kernel"], NUMBERS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (field(2, "SAME"), "SAME"),
        (field(2, b"\xff"), b"\xff"),
        (field(3, -3), -3),
        (field(4, 0.5), 0.5),
        (field(5, 1), True),
        (field(5, 0), False),
        (field(6, 9), "int64"),
        (field(6, 20), "type 20"),
        (field(7, field(3, 1)), None),
        (field(7, b""), ()),
        (field(1, b""), []),
        (field(1, field(2, "a") + field(2, "b")), ["a", "b"]),
        (field(1, field(3, 1) + field(3, -1)), [1, -1]),
        (field(1, field(4, struct.pack("<2f", 1, 2))), [1, 2]),
        (field(1, field(5, b"\x01\x00")), [True, False]),
        (field(1, field(6, 1) + field(6, 3)), ["float32", "int32"]),
        (field(1, field(7, shape(2, 3))), [(2, 3)]),
    ],
)
def test_attributes(tmp_path, value, expected):
    got = read(tmp_path, node("a", "Op", x=value)).nodes["a"].attributes["x"]
    assert got == expected and type(got) is type(expected)


def test_functions_are_left_out(tmp_path):
    assert read(tmp_path, node("a", "Op", x=field(10, field(1, "f")))).nodes["a"].attributes == {}


@pytest.mark.parametrize(
    ("kind", "lengths", "numbers", "expected"),
    [
        ("float32", (3,), field(5, struct.pack("<3f", 1, 2, 3)), [1, 2, 3]),
        ("float32", (3,), field(5, 1.0) + field(5, 2.0) + field(5, 3.0), [1, 2, 3]),
        ("float32", (4,), field(5, 1.0) + field(5, 2.0), [1, 2, 2, 2]),
        ("float32", (2, 2), field(5, 7.0), [[7, 7], [7, 7]]),
        ("float32", (2,), b"", [0, 0]),
        ("float32", (0, 3), b"", np.zeros((0, 3))),
        ("float32", (), field(5, 7.0), 7),
        ("float64", (2,), field(6, struct.pack("<2d", 1, 2)), [1, 2]),
        ("int32", (3,), field(7, varint(-1) + varint(2**31 - 1) + varint(300)), [-1, 2**31 - 1, 300]),
        ("int32", (2,), field(7, 5), [5, 5]),
        ("int32", (2,), field(4, struct.pack("<2i", -1, 2)), [-1, 2]),
        ("int64", (2,), field(10, -(2**40)) + field(10, 3), [-(2**40), 3]),
        ("bool", (3,), field(11, b"\x01\x00\x01"), [True, False, True]),
        ("bool", (2,), field(4, b"\x01\x00"), [True, False]),
        ("uint8", (2,), field(4, b"\xff\x01"), [255, 1]),
        ("float16", (2,), field(13, varint(0x3C00) + varint(0xC000)), [1, -2]),
        ("float16", (2,), field(4, struct.pack("<2e", 1, -2)), [1, -2]),
    ],
)
def test_constants(tmp_path, kind, lengths, numbers, expected):
    array = read(tmp_path, const("c", tensor(kind, lengths, numbers))).constants["c"]
    assert array.dtype == kind and array.shape == lengths
    np.testing.assert_array_equal(array, expected)


def test_a_constant_of_strings_is_a_node_alone(tmp_path):
    graph = read(tmp_path, const("c", tensor("string", (1,), field(8, "text"))))
    assert list(graph.nodes) == ["c"] and graph.constants == {}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "does not begin like a graph"),
        (field(4, field(1, 1)), "no nodes"),
        (field(1, field(1, "a")), "without name or operation"),
        (field(1, 5), "a number where bytes belong"),  # a SavedModel begins so
        (field(9, "a"), "does not begin like a graph"),
        (b"\x0b", "wire type 3"),
        (b"\xff" * 11, "more than 10 bytes"),
        (varint(1 << 3 | 2) + varint(2**62) + b"a", "of which 1 are there"),
        (node("a", "Op", "b"), "reads b, which is missing"),
        (node("a", "Op") * 2, "occurs twice"),
        (node("a", "Const"), "has no value"),
        (const("a", tensor("float32", (3,), field(4, bytes(8)))), "expected 3 numbers, got 2"),
        (const("a", tensor("float32", (1,), field(5, bytes(8)))), "expected 1 numbers, got 2"),
        (const("a", tensor("float32", (3,), field(5, bytes(7)))), "buffer size"),
        (const("a", tensor("float32", (-1,), field(5, bytes(4)))), "unknown shape"),
        (const("a", tensor("float32", (2**20, 2**20), field(5, 1.0))), "of which 1 are in the file"),
        (const("a", tensor("float32", (2**62, 2**62))), "of which 0 are in the file"),
        (const("a", tensor("int32", (1,), field(7, b"\xff"))), "ends within a number"),
        (const("a", tensor("float32", (1,), field(5, 3))), "another type than floats"),
    ],
)
def test_a_broken_graph_is_an_error_that_says_why(tmp_path, data, text):
    with pytest.raises(UserError, match=text) as caught:
        read(tmp_path, data)
    assert caught.value.argument == "weights" and "graph.pb" in str(caught.value)


def test_many_short_constants_cannot_become_a_large_array_together(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen_graph, "MOST_REPEATED", 100)
    small = [const(str(n), tensor("float32", (30,), field(5, 1.0))) for n in range(4)]
    assert len(read(tmp_path, b"".join(small[:3])).constants) == 3
    with pytest.raises(UserError, match="constant 3: 30 numbers"):
        read(tmp_path, b"".join(small))


def test_a_graph_cut_anywhere_is_an_error(tmp_path):
    ends = [len(data) for data in (SMALL, b"")]
    for length in range(len(SMALL)):
        if length not in ends:
            with pytest.raises(UserError):
                read(tmp_path, SMALL[:length])


def test_foreign_and_changed_bytes_end_in_a_graph_or_in_an_error(tmp_path):
    rng = np.random.default_rng(0)
    for start in (b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\x89HDF\r\n\x1a\n", b"\x80\x02}q\x00", b'{"format": "graph"}'):
        with pytest.raises(UserError, match="not a readable frozen"):
            read(tmp_path, start + rng.bytes(300))
    for _ in range(1000):
        changed = bytearray(SMALL)
        changed[rng.integers(len(SMALL))] = rng.integers(256)
        try:
            read(tmp_path, bytes(changed))
        except UserError as error:
            assert "not a readable frozen" in str(error)
    with pytest.raises(UserError, match="no such file exists"):
        read_frozen_graph(tmp_path / "missing.pb")


def compared(path):
    """The graph of a file, after its constants and wiring are compared with what TensorFlow reads."""
    tf = pytest.importorskip("tensorflow")
    graph, theirs = read_frozen_graph(path), tf.compat.v1.GraphDef()
    theirs.ParseFromString(path.read_bytes())
    assert list(graph.nodes) == [node.name for node in theirs.node]
    for node in theirs.node:
        ours = graph.nodes[node.name]
        assert (ours.op, ours.inputs) == (node.op, tuple(node.input))
        assert ours.attributes.keys() == node.attr.keys()
        for key, value in node.attr.items():
            kind = value.WhichOneof("value")
            if kind in ("s", "i", "f", "b"):
                expected = value.s.decode() if kind == "s" else getattr(value, kind)
                assert ours.attributes[key] == expected
            elif kind == "type":
                assert ours.attributes[key] == tf.as_dtype(value.type).name
            elif kind == "list":
                assert ours.attributes[key] == list(value.list.i)
    constants = {node.name: tf.make_ndarray(node.attr["value"].tensor) for node in theirs.node if node.op == "Const"}
    assert constants.keys() == graph.constants.keys()
    for name, expected in constants.items():
        assert graph.constants[name].dtype == expected.dtype
        np.testing.assert_array_equal(graph.constants[name], expected, err_msg=name, strict=True)
    return graph


def test_a_graph_of_tensorflow_s(tmp_path):
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder("float32", (1, 8, 8, 3), name="image")
        x = tf.nn.conv2d(image, rng.normal(size=(3, 3, 3, 4)).astype("float32"), [1, 2, 2, 1], "SAME")
        x = tf.nn.bias_add(x, tf.constant(np.zeros(4, "float32")))
        x = tf.reshape(tf.reduce_sum(tf.nn.relu6(x), axis=[1, 2]) * 2.0, (-1,))
        tf.cast(x, "float16") + tf.constant([1, 2.5, -3, 4], "float16")
        tf.constant([True, False, True]), tf.constant([1, -(2**40)], "int64"), tf.constant(np.int32([[1, 2], [3, -4]]))
        tf.fill((3, 3), 1.5), tf.constant(2.5, shape=(4, 5)), tf.zeros((0, 3)), tf.constant(np.uint8([1, 255]))
    path = tmp_path / "graph.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    assert len(compared(path).constants) > 10


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs ../shared/weights/openpose_mobilenet_v2_small")
def test_the_published_openpose_graph(tmp_path):
    graph = compared(PUBLISHED)
    assert len(graph.constants) == 565 and len(graph.nodes) == 916
    assert graph.nodes["image"].op == "Placeholder" and graph.nodes["Openpose/concat_stage7"].op == "ConcatV2"
    whole = PUBLISHED.read_bytes()
    for length in range(1, len(whole), len(whole) // 60):
        with pytest.raises(UserError, match="damaged or incomplete"):
            read(tmp_path, whole[:length])
