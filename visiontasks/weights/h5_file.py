"""Reads Keras 2's HDF5 files (`.h5`, `.hdf5`) into NumPy arrays, without building or running the model in them.

Such a file also describes its model, and the description may hold Python's byte code (Lambda layers). Only the arrays
under `model_weights`, and the lists of their names, are read.
"""

import math
import re
from pathlib import Path

import numpy as np

from visiontasks.errors import UserError


def read_h5_file(path: str | Path) -> dict[str, np.ndarray]:
    """The weights of a whole model or a weights file saved by Keras 2: {"LAYER/variable": array}, in the file's order.

    If a layer has two variables of one name, as a model within a model does, its keys have the variables' whole paths.

    Raises:
        UserError: no such file; not HDF5 weights of Keras 2; a damaged or truncated file; weights that lie in other
            files, are linked, compressed, no numbers, or more than the file can hold.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise UserError(f"expected a Keras .h5 file; got {str(path)!r}, and no such file exists.", "weights")
    try:
        with h5py.File(path, "r") as file:
            return _weights(file, path.stat().st_size)
    except Exception as error:  # h5py raises a dozen kinds for a damaged file
        raise UserError(
            f"{str(path)!r} is not a readable .h5 file of Keras 2, or it is damaged or incomplete "
            f"({type(error).__name__}: {error}). Download it again. A .weights.h5 file of Keras 3 is loaded by "
            "model.load_weights.",
            "weights",
        ) from error


def _weights(file, most: int):
    whole = "model_weights" in file
    root = _inside(file, "model_weights") if whole else file
    backend = file.attrs.get("backend", root.attrs.get("backend", "tensorflow"))
    backend = backend.decode() if isinstance(backend, bytes) else str(backend)
    if backend != "tensorflow":  # Theano's kernels are turned by 180 degrees
        raise ValueError(f"it was saved with the backend {backend}, expected tensorflow")
    layers = _names(root, "layer_names", most)
    if layers is None:
        raise ValueError("it has no list of layers in model_weights")
    arrays, held = {}, 0
    for layer in layers:
        group = _inside(root, layer)
        names = _names(group, "weight_names", most) or []
        short = [_plain(name).rpartition("/")[2] for name in names]
        if len(set(short)) < len(short):
            short = [_plain(name) for name in names]
        for name, variable in zip(names, short, strict=True):
            dataset = _inside(group, name)
            held += _size(dataset, name)
            if held > most:
                raise ValueError(f"{name}: {dataset.shape} is more than the file holds")
            if f"{layer}/{variable}" in arrays:
                raise ValueError(f"{layer}/{variable} occurs twice")
            arrays[f"{layer}/{variable}"] = dataset[()]
    if not arrays:
        raise ValueError("it has no weights")
    return arrays


def _plain(name):
    return re.sub(r":\d+$", "", name)


def _inside(group, path):
    """A group or data set below a group, reached by hard links alone: others may lead to other files."""
    import h5py

    for part in path.strip("/").split("/"):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise ValueError(f"{path} is missing")
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{path} is a link, which may lead to another file")
        group = group[part]
    return group


def _size(dataset, name) -> int:
    """The bytes of a data set, if it is plain numbers in this file."""
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise ValueError(f"{name} is no array")
    if dataset.dtype.kind not in "fiub":
        raise ValueError(f"{name} has the type {dataset.dtype}, expected numbers")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{name} lies in another file")
    if dataset.id.get_create_plist().get_nfilters():  # Keras never compresses; a short file could become any size
        raise ValueError(f"{name} is compressed")
    return math.prod(dataset.shape) * dataset.dtype.itemsize


def _names(group, attribute, most) -> list[str] | None:
    """A list of names; Keras stores a long one in parts. None if there is none."""
    if attribute not in group.attrs:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(f"{attribute}{len(parts)}")
    else:
        parts = [attribute]
    names = []
    for part in parts:
        described = group.attrs.get_id(part)
        if math.prod(described.shape) * described.dtype.itemsize > most:
            raise ValueError(f"{part} is more than the file holds")
        names += [name.decode() if isinstance(name, bytes) else name for name in np.ravel(group.attrs[part])]
    if any(not isinstance(name, str) for name in names):
        raise ValueError(f"{attribute} is not a list of names")
    return names if parts else None
