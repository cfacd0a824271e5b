"""Reads TensorFlow's frozen graphs (`.pb`) into NumPy arrays and nodes, without TensorFlow and without protobuf.

A frozen graph is one GraphDef message whose variables have become Const nodes. The encoding:
https://protobuf.dev/programming-guides/encoding; the field numbers: graph.proto, node_def.proto, attr_value.proto,
tensor.proto and types.proto in tensorflow/core/framework.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visiontasks.errors import UserError

# a constant may be one number and a shape, so that a few bytes could become arrays of any size
MOST_REPEATED = 1 << 26

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 9: "int64"}
_TYPES |= {10: "bool", 14: "bfloat16", 17: "uint16", 19: "float16", 22: "uint32", 23: "uint64"}
_FLOATS = {"float32": (5, _FIXED32), "float64": (6, _FIXED64)}  # fields of a tensor that list its numbers
_INTEGERS = {"int32": 7, "uint8": 7, "int16": 7, "int8": 7, "uint16": 7, "int64": 10, "bool": 11, "float16": 13}


class Node(NamedTuple):
    """An operation of a graph.

    Args:
        op: its kind, such as "Conv2D".
        inputs: names of the nodes that it reads, as in the file: "a", "a:1" (the second output), "^a" (runs after a).
        attributes: {name: str, int, float, bool, shape, array, or list of those}. A type is its NumPy name. A shape is
            a tuple with -1 where a length is unknown, None if the rank is unknown. Functions are left out.
    """

    op: str
    inputs: tuple[str, ...]
    attributes: dict


class Graph(NamedTuple):
    """The constants of a graph by name, and its nodes by name in the order of the file, which need not be that of
    computation."""

    constants: dict[str, np.ndarray]
    nodes: dict[str, Node]


def read_frozen_graph(path: str | Path) -> Graph:
    """The constants and nodes of a frozen graph.

    Constants have the file's types and shapes. Strings and other constants without a NumPy type are nodes only.

    Raises:
        UserError: no such file; not a GraphDef; a damaged or truncated one, or an input of a node is missing. A file
            that was cut after a node is a graph itself if no node reads a lost one.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"expected a TensorFlow graph; got {str(path)!r}, and no such file exists.", "weights")
    try:
        return _Reader().graph(path.read_bytes())
    except Exception as error:  # damaged bytes can raise any error
        raise UserError(
            f"{str(path)!r} is not a readable frozen TensorFlow graph, or it is damaged or incomplete "
            f"({type(error).__name__}: {error}). Download it again, or freeze the graph again.",
            "weights",
        ) from error


def check_wiring(nodes: dict[str, Node]):
    """Raise ValueError if an input of a node is not among the nodes."""
    for name, node in nodes.items():
        for read in node.inputs:
            if read.removeprefix("^").split(":")[0] not in nodes:
                raise ValueError(f"node {name} reads {read}, which is missing")


class _Reader:
    """Reads one file; counts the numbers that the file does not store one by one."""

    def __init__(self):
        self._repeated = 0

    def graph(self, data: bytes) -> Graph:
        fields = _fields(data)
        if not fields or fields.keys() - {1, 2, 3, 4, 5}:
            raise ValueError("it does not begin like a graph")
        nodes = {}
        for part in _parts(fields, 1):
            name, node = self._node(part)
            if name in nodes:
                raise ValueError(f"node {name} occurs twice")
            nodes[name] = node
        if not nodes:
            raise ValueError("it has no nodes")
        check_wiring(nodes)
        values = {name: node.attributes.get("value") for name, node in nodes.items() if node.op == "Const"}
        return Graph({name: value for name, value in values.items() if isinstance(value, np.ndarray)}, nodes)

    def _node(self, data):
        fields = _fields(data)
        name, op = (_text(_parts(fields, number)[-1]) if fields.get(number) else "" for number in (1, 2))
        if not name or not op or fields.keys() - set(range(1, 8)):
            raise ValueError("a node without name or operation")
        attributes = {}
        for part in _parts(fields, 5):
            entry = _fields(part)
            key, value = (_parts(entry, number)[-1:] or [b""] for number in (1, 2))
            value = self._attribute(name, value[0])
            if value is not None:
                attributes[_text(key[0])] = value[0]
        if op == "Const" and "value" not in attributes:
            raise ValueError(f"constant {name} has no value")
        return name, Node(op, tuple(_text(part) for part in _parts(fields, 3)), attributes)

    def _attribute(self, node, data):
        """(value,) of an attribute; None for one that is left out."""
        fields = _fields(data)
        for number in range(2, 8):
            if number in fields:
                return (_plain(fields, number)[-1],)
        if 8 in fields:
            return (self._tensor(node, _parts(fields, 8)[-1]),)
        if 1 in fields:
            items = _fields(_parts(fields, 1)[-1])
            return (next((_plain(items, number) for number in range(2, 8) if number in items), []),)
        return None

    def _tensor(self, node, data):
        """The array of a tensor; the name of its type where NumPy has none."""
        fields = _fields(data)
        kind = _TYPES.get((_integers(fields, 1) or [0])[-1], "unknown")
        shape = _shape((_parts(fields, 2) or [b""])[-1])
        if kind not in _FLOATS and kind not in _INTEGERS:
            return kind
        if shape is None or any(length < 0 for length in shape):
            raise ValueError(f"constant {node} has the unknown shape {shape}")
        count = math.prod(shape)
        if content := (_parts(fields, 4) or [b""])[-1]:
            stored = np.frombuffer(content, "u1" if kind == "bool" else np.dtype(kind).newbyteorder("<"))
            if stored.size != count:
                raise ValueError(f"constant {node}: expected {count} numbers, got {stored.size}")
            return stored.astype(kind).reshape(shape)
        return self._filled(node, _listed(fields, kind), count).reshape(shape)

    def _filled(self, node, listed, count):
        """The last number stands for all further ones; without any they are 0."""
        if listed.size > count:
            raise ValueError(f"constant {node}: expected {count} numbers, got {listed.size}")
        missing = count - listed.size
        self._repeated += missing
        if self._repeated > MOST_REPEATED:
            raise ValueError(f"constant {node}: {count} numbers, of which {listed.size} are in the file")
        return np.concatenate([listed, np.full(missing, listed[-1] if listed.size else 0, listed.dtype)])


def _listed(fields, kind):
    if kind in _FLOATS:
        number, wire = _FLOATS[kind]
        return _fixed(fields, number, wire).astype(kind)
    integers = np.array(_integers(fields, _INTEGERS[kind]), "int64")
    return integers.astype("uint16").view("float16") if kind == "float16" else integers.astype(kind)


def _plain(fields, number) -> list:
    """The values of an attribute's field 2 to 7, which have the same numbers in a list of values."""
    if number in (2, 7):
        return [(_text if number == 2 else _shape)(part) for part in _parts(fields, number)]
    if number == 4:
        return _fixed(fields, number, _FIXED32).tolist()
    integers = _integers(fields, number)
    if number == 5:
        return [integer != 0 for integer in integers]
    return integers if number == 3 else [_TYPES.get(integer, f"type {integer}") for integer in integers]


def _shape(data):
    fields = _fields(data)
    if any(_integers(fields, 3)):
        return None
    return tuple((_integers(_fields(part), 1) or [0])[-1] for part in _parts(fields, 2))


def _text(data) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _parts(fields, number) -> list[bytes]:
    found = fields.get(number, [])
    if any(wire != _BYTES for wire, _ in found):
        raise ValueError(f"field {number} is a number where bytes belong")
    return [value for _, value in found]


def _fixed(fields, number, wire) -> np.ndarray:
    """Floats of 4 or 8 bytes, each a field of its own or many in one."""
    found = fields.get(number, [])
    if any(kind not in (wire, _BYTES) for kind, _ in found):
        raise ValueError(f"field {number} is of another type than floats")
    return np.frombuffer(b"".join(value for _, value in found), "<f4" if wire == _FIXED32 else "<f8")


def _integers(fields, number) -> list[int]:
    """Signed integers of 64 bits, each a field of its own or many in one."""
    integers = []
    for wire, value in fields.get(number, []):
        if wire == _VARINT:
            integers.append(value)
        elif wire == _BYTES:
            at = 0
            while at < len(value):
                integer, at = _varint(value, at)
                integers.append(integer)
        else:
            raise ValueError(f"field {number} is of another type than integers")
    return [integer - (1 << 64) if integer >> 63 else integer for integer in integers]


def _fields(data: bytes) -> dict[int, list]:
    """{number: [(wire type, value), …]} of a message; a value is an unsigned integer or bytes."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire in (_FIXED64, _BYTES, _FIXED32):
            length, at = _varint(data, at) if wire == _BYTES else (8 if wire == _FIXED64 else 4, at)
            if length > len(data) - at:
                raise ValueError(f"a field of {length} bytes, of which {len(data) - at} are there")
            value = data[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {wire}, which no graph has")
        if not number:
            raise ValueError("a field without a number")
        fields.setdefault(number, []).append((wire, value))
    return fields


def _varint(data, at):
    """(integer, place after it): 7 bits a byte, the lowest first, and a top bit where more follow."""
    integer = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends within a number")
        integer |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return integer & ((1 << 64) - 1), at
    raise ValueError("a number of more than 10 bytes")
