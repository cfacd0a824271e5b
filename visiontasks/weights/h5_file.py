"""Reads Keras 2's HDF5 files (`.h5`, `.hdf5`) into NumPy arrays, without building or running the model in them.

Such a file also describes its model, and the description may hold Python's byte code (Lambda layers). Only arrays are
read: no attribute's value, since HDF5 1.14 loops endlessly over some damaged texts.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visiontasks.errors import UserError


def read_h5_file(path: str | Path) -> dict[str, np.ndarray]:
    """The weights of a whole model or a weights file saved by Keras 2: {"LAYER/variable": array} in the file's types.

    If a layer has two variables of one name, as a model within a model does, its keys have the variables' whole paths.
    Files that Keras 3 saves as `.h5` have this form, too. Kernels saved with the backend Theano, which are turned by
    180 degrees, stay so.

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
    root = _linked(file, "model_weights") if "model_weights" in file else file
    layers, held = {}, 0
    for layer, name, dataset in _datasets(root, None, "", set()):
        held += _size(dataset, f"{layer}/{name}")
        if held > most:
            raise ValueError(f"{layer}/{name}: {dataset.shape} is more than the file holds")
        layers.setdefault(layer, {})[re.sub(r":\d+$", "", name)] = dataset
    if not layers:
        raise ValueError("it has no weights of layers in model_weights")
    arrays = {}
    for layer, datasets in layers.items():
        short = [name.rpartition("/")[2] for name in datasets]
        names = short if len(set(short)) == len(short) else datasets
        arrays.update((f"{layer}/{name}", data[()]) for name, data in zip(names, datasets.values(), strict=True))
    return arrays


def _datasets(group, layer: str | None, path: str, seen: set) -> Iterator:
    """(layer, path within it, data set) of all below a group; a group with a list of weights is a layer."""
    import h5py

    place = h5py.h5o.get_info(group.id).addr
    if place in seen:
        raise ValueError(f"{path} occurs twice")
    seen.add(place)
    # a long list is stored in parts
    if "weight_names" in group.attrs or "weight_names0" in group.attrs:
        layer, path = path if layer is None else f"{layer}/{path}", ""
    for name in group:
        item, below = _linked(group, name), f"{path}/{name}".lstrip("/")
        if isinstance(item, h5py.Group):
            yield from _datasets(item, layer, below, seen)
        elif layer is not None:
            yield layer, below, item


def arrays_of(file, most: int) -> Iterator:
    """(name, data set) of all arrays of an open file of any layout, without reading one.

    Args:
        file: an h5py.File.
        most: the bytes that they may have together.

    Raises:
        ValueError: one lies in another file, is linked, compressed or no numbers, or they are too many.
    """
    held, seen = 0, set()

    def below(group, path):
        import h5py

        place = h5py.h5o.get_info(group.id).addr
        if place in seen:
            raise ValueError(f"{path} occurs twice")
        seen.add(place)
        for name in group:
            item, inner = _linked(group, name), f"{path}/{name}".lstrip("/")
            if isinstance(item, h5py.Group):
                yield from below(item, inner)
            else:
                yield inner, item

    for name, dataset in below(file, ""):
        held += _size(dataset, name)
        if held > most:
            raise ValueError(f"{name}: {dataset.shape} is more than the file holds")
        yield name, dataset


def _linked(group, name):
    """What a hard link leads to; other links may lead to other files."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link, which may lead to another file")
    return group[name]


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
