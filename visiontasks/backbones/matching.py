"""Whether the weights of one backbone mean the same in another, and copies them."""

import collections
import re

import keras

from visiontasks.backbones.backbone import Graph

# what changes training alone, not what weights mean; and names of layers, which count up in a process
_FREE = {"name", "trainable", "dtype", "seed", "momentum", "rate", "batch_shape", "registered_name"}
_FREE |= {"inbound_nodes", "input_layers", "output_layers", "build_input_shape"}
_BEGINS = ("_initializer", "_regularizer", "_constraint", "_config")
_MOST = 3  # settings in a sentence


def difference(saved: keras.Model, built: keras.Model) -> str:
    """Where two backbones are different networks, in a few words; "" where weights of one fit the other.

    Either may lack the last layers of the other, which no head of it taps, and the image sizes may differ.
    """
    if _bare(saved.name) != _bare(built.name):
        return f"it is {_bare(saved.name)} in the file, {_bare(built.name)} here"
    theirs, ours = _aligned(saved, built)
    common = [name for name in ours if name in theirs]
    if built.weights and not any(_weights(ours[name]) for name in common):
        return "no layer has the same name"
    before, inputs = _inputs(saved, theirs), _inputs(built, ours)
    for name in common:
        there, here = _settings(theirs[name]), _settings(ours[name])
        if type(theirs[name]) is not type(ours[name]):
            return f"{name} is a {type(theirs[name]).__name__} in the file, a {type(ours[name]).__name__} here"
        if there != here:
            keys = [key for key in there | here if there.get(key) != here.get(key)]
            return f"{name} has " + ", ".join(
                f"{k} {there.get(k)} in the file, {here.get(k)} here" for k in keys[:_MOST]
            )
        if before[name] != inputs[name]:
            return f"{name} follows {', '.join(before[name])} in the file, {', '.join(inputs[name])} here"
        shapes = [[tuple(v.shape) for v in _weights(one)] for one in (theirs[name], ours[name])]
        if shapes[0] != shapes[1]:
            return f"{name} has weights of the shapes {shapes[0]} in the file, {shapes[1]} here"
    return ""


def take_backbone(saved: keras.Model, built: keras.Model) -> list[keras.Variable]:
    """Copy the weights of one backbone to another between which there is no `difference`.

    Returns:
        The variables of layers that `saved` does not have, which keep their values.
    """
    theirs, ours = _aligned(saved, built)
    missing = []
    for name, layer in ours.items():
        if name not in theirs:
            missing += _weights(layer)
            continue
        for a, b in zip(_weights(theirs[name]), _weights(layer), strict=True):
            b.assign(keras.ops.convert_to_numpy(a))
    for layer in built._flatten_layers():  # private: Keras has no public walk over nested layers
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with a copy of its weights
    return missing


def _weights(operation) -> list:
    """None of what is no layer, such as a sum."""
    return getattr(operation, "weights", [])


def _bare(name: str) -> str:
    """A name without the number that counts up in a process."""
    return re.sub(r"(?<=[a-z])_\d+$", "", name)


def _aligned(saved, built) -> tuple[dict, dict]:
    """({name: operation} of each), the input left out; where Keras has chosen names, by what they count."""
    found = [[o for o in m.operations if not isinstance(o, keras.layers.InputLayer)] for m in (saved, built)]
    theirs, ours = ({o.name: o for o in operations} for operations in found)
    if theirs.keys() <= ours.keys() or ours.keys() <= theirs.keys():
        return theirs, ours
    counted = [_counted(operations) for operations in found]
    one, other = (operations.keys() for operations in counted)
    return tuple(counted) if one <= other or other <= one else (theirs, ours)


def _counted(operations) -> dict:
    numbers = collections.Counter()
    found = {}
    for operation in operations:
        name = _bare(operation.name)
        numbers[name] += 1
        found[f"{name} {numbers[name]}" if numbers[name] > 1 else name] = operation
    return found


def _inputs(model, operations) -> dict[str, list[str]]:
    """{name of an operation: those that it follows}, by the names of `operations`."""
    names = {id(operation): name for name, operation in operations.items()}
    nodes = Graph(model.input, list(model.output.values())).nodes
    made = {id(tensor): names.get(id(node.operation), "the image") for node in nodes for tensor in node.outputs}
    found = collections.defaultdict(list)
    for node in nodes:
        if id(node.operation) in names:
            found[names[id(node.operation)]] += [made[id(tensor)] for tensor in node.input_tensors]
    return found


def _settings(operation) -> dict:
    """What an operation computes, given its weights: its arguments but for `_FREE` and how weights begin."""

    def plain(value):
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if k not in _FREE and not k.endswith(_BEGINS)}
            return {key: plain(v) for key, v in kept.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value

    return plain(operation.get_config())
