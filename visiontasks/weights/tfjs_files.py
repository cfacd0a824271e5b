"""Reads TensorFlow.js graph models (a `.json` and its shards of numbers) into NumPy arrays and nodes.

The JSON holds the graph under `modelTopology` and lists the weights of the shards under `weightsManifest`; see
https://www.tensorflow.org/js/guide/conversion. Nothing else is needed to read it.
"""

import base64
import json
import math
from pathlib import Path

import numpy as np

from visiontasks.errors import UserError
from visiontasks.weights.frozen_graph import Graph, Node, check_wiring

_DTYPES = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "bool": "?"}
_QUANTIZED = {"uint8": "u1", "uint16": "<u2", "float16": "<f2"}


def read_tfjs_files(path: str | Path) -> Graph:
    """The constants and nodes of a TensorFlow.js graph model; see `Graph`.

    Weights quantized to uint8 or uint16 become stored · scale + min, those in float16 float32. Weights that belong to
    no node are among the constants, too. A graph's functions are left out.

    Args:
        path: the `.json`; its shards lie in the same folder or below it.

    Raises:
        UserError: no such file; not a graph model; a shard is missing, outside the folder, longer or shorter than the
            weights that the JSON lists; an input of a node or the value of a constant is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"expected a TensorFlow.js model; got {str(path)!r}, and no such file exists.", "weights")
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(model, dict) or "node" not in (model.get("modelTopology") or ()):
            raise ValueError("modelTopology has no nodes: it is not a graph model")
        nodes = _nodes(model["modelTopology"]["node"])
        constants = _constants(path.parent, model["weightsManifest"])
        missing = [name for name, node in nodes.items() if node.op == "Const" and name not in constants]
        if missing:
            raise ValueError(f"no weights for {', '.join(missing[:5])}")
        return Graph(constants, nodes)
    except Exception as error:  # damaged JSON can raise any error
        raise UserError(
            f"{str(path)!r} is not a readable TensorFlow.js graph model, or it is damaged or incomplete "
            f"({type(error).__name__}: {error}). Download the .json and all its .bin files again.",
            "weights",
        ) from error


def _constants(folder, manifest):
    constants, seen = {}, set()
    for group in manifest:
        shards = [_shard(folder, name) for name in group["paths"]]
        if seen & set(shards) or len(set(shards)) < len(shards):  # a short list could become any number of bytes
            raise ValueError("a file of weights is listed twice")
        seen.update(shards)
        data, at = b"".join(shard.read_bytes() for shard in shards), 0
        for weight in group["weights"]:
            name, (array, at) = weight["name"], _weight(data, at, **weight)
            if name in constants:
                raise ValueError(f"weights {name} occur twice")
            constants[name] = array
        if at != len(data):
            raise ValueError(f"the weights have {at} bytes, the files {', '.join(group['paths'])} {len(data)}")
    return constants


def _shard(folder, name):
    shard = (folder / name).resolve()
    if not shard.is_relative_to(folder.resolve()):
        raise ValueError(f"expected files of weights in the model's folder, got {name!r}")
    if not shard.is_file():
        raise ValueError(f"the file of weights {name!r} is missing")
    return shard


def _weight(data, at, name, shape, dtype, quantization=None, **_):
    """(array, place after it)."""
    if dtype not in _DTYPES or any(not isinstance(length, int) or length < 0 for length in shape):
        raise ValueError(f"{name}: expected {', '.join(_DTYPES)} and a shape, got {dtype} of {shape}")
    kind = np.dtype(_DTYPES[dtype] if quantization is None else _QUANTIZED[quantization["dtype"]])
    count = math.prod(shape)
    if count * kind.itemsize > len(data) - at:
        raise ValueError(f"{name}: expected {count * kind.itemsize} bytes, got {len(data) - at}")
    stored = np.frombuffer(data, "u1" if kind == "?" else kind, count, at)
    if quantization is not None and quantization["dtype"] != "float16":
        stored = stored.astype("float64") * quantization["scale"] + quantization["min"]
        stored = stored if dtype == "float32" else np.floor(stored + 0.5)
    return stored.astype(np.dtype(_DTYPES[dtype]).newbyteorder("=")).reshape(shape), at + count * kind.itemsize


def _nodes(listed):
    nodes = {}
    for entry in listed:
        name, op = entry["name"], entry["op"]
        if not isinstance(name, str) or not isinstance(op, str) or name in nodes:
            raise ValueError(f"expected nodes with unique names, got {name!r}")
        attributes = {key: _attribute(**value) for key, value in entry.get("attr", {}).items()}
        attributes = {key: value[0] for key, value in attributes.items() if value is not None}
        nodes[name] = Node(op, tuple(entry.get("input", ())), attributes)
    check_wiring(nodes)
    return nodes


def _attribute(list=None, **value):
    """(value,) of an attribute; None for one that is left out."""
    if list is not None:
        return (next(([_plain(kind, item) for item in items] for kind, items in list.items() if kind in _PLAIN), []),)
    return next(((_plain(kind, item),) for kind, item in value.items() if kind in _PLAIN), None)


def _text(item):
    data = base64.b64decode(item, validate=True)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _shape(item):
    if item.get("unknownRank"):
        return None
    return tuple(int(dim.get("size", 0)) for dim in item.get("dim", ()))


def _type(item):
    names = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}
    return names.get(item, str(item).removeprefix("DT_").lower())


_PLAIN = {"s": _text, "i": int, "f": float, "b": bool, "type": _type, "shape": _shape}


def _plain(kind, item):
    return _PLAIN[kind](item)
