"""Reads PyTorch's checkpoint files into NumPy arrays, without PyTorch and without running what is in them.

A checkpoint is a pickle, and a pickle is a program. Only what rebuilds tensors, containers and numbers is let through;
any other name in it is refused before it is looked up. Two containers exist: the zip file written since PyTorch 1.6
(2020) and the sequence of pickles followed by raw numbers written before.
"""

import collections
import math
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

from visiontasks.errors import UserError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

# numbers as they lie in the file; bfloat16 is the upper half of a float32 and becomes one when read
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
    "ComplexFloatStorage": "<c8",
    "ComplexDoubleStorage": "<c16",
}
_WRAPPERS = ("model_state_dict", "state_dict", "model")  # under which training scripts put the weights


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch checkpoint by name.

    Returns arrays in the file's own types, bfloat16 as float32. Tensors that share memory in the file do so here. Dicts
    inside dicts are joined by dots; where a training script has put the weights under "state_dict", "model" or
    "model_state_dict", those alone are returned. Numbers, strings and other entries without a tensor are left out.

    Raises:
        UserError: no such file; not a checkpoint, or a damaged or truncated one; or it names anything but tensors,
            containers and numbers: the text says what.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights: expected a PyTorch checkpoint; got {str(path)!r}, and no such file exists.")
    try:
        content = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not a dict of tensors")
        return _tensors(content)
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way at all
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"weights: {str(path)!r} is no PyTorch checkpoint that can be read, or it is damaged or incomplete "
            f"({reason}). Download it again, or save it anew with torch.save(model.state_dict(), path)."
        ) from error


def _tensors(content: dict) -> dict[str, np.ndarray]:
    if not any(isinstance(value, np.ndarray) for value in content.values()):
        content = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), content)
    found = {}
    for key, value in content.items():
        if isinstance(value, np.ndarray):
            found[str(key)] = value
        elif isinstance(value, dict):
            found.update((f"{key}.{name}", array) for name, array in _tensors(value).items())
    return found


def _read_zip(path: Path):
    with zipfile.ZipFile(path) as archive:
        entries = {name.partition("/")[2]: name for name in archive.namelist()}
        if "data.pkl" not in entries:
            raise ValueError("a zip file without data.pkl")
        if "byteorder" in entries and archive.read(entries["byteorder"]).strip() != b"little":
            raise ValueError("it was written on a big-endian machine")

        def load_storage(kind, key, count):
            info = archive.getinfo(entries[f"data/{key}"])
            # PyTorch never compresses; a compressed entry could unfold to any size
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != count * _item_size(kind):
                raise ValueError(f"tensor data {key}: expected {count} numbers, got {info.file_size} bytes")
            return _numbers(archive.read(info), kind)  # zipfile checks the CRC

        with archive.open(entries["data.pkl"]) as file:
            return _Reader(file, load_storage).load()


def _read_legacy(path: Path):
    with path.open("rb") as file:
        if _Reader(file).load() != LEGACY_MAGIC:
            raise ValueError("it does not begin as a checkpoint does")
        if _Reader(file).load() != LEGACY_PROTOCOL or not _Reader(file).load()["little_endian"]:
            raise ValueError("its protocol or byte order is not supported")
        # tensors come before their numbers here, so they are made empty and filled afterwards
        storages, filled = {}, set()

        def make_storage(kind, key, count):
            if key not in storages:
                if count * _item_size(kind) > path.stat().st_size:
                    raise ValueError(f"tensor data {key}: {count} numbers are more than the file holds")
                storages[key] = (kind, np.zeros(count, "<f4" if kind == "bfloat16" else kind))
            return storages[key][1]

        content = _Reader(file, make_storage).load()
        for key in _Reader(file).load():
            kind, array = storages[key]
            (count,) = struct.unpack("<q", file.read(8))
            raw = file.read(array.size * _item_size(kind))
            if count != array.size or len(raw) != array.size * _item_size(kind):
                raise ValueError(f"tensor data {key}: expected {array.size} numbers, got {count}, {len(raw)} bytes")
            array[:] = _numbers(raw, kind)
            filled.add(key)
        if unfilled := storages.keys() - filled:
            raise ValueError(f"tensor data {', '.join(sorted(map(str, unfilled)))}: missing")
        return content


def _item_size(kind: str) -> int:
    return 2 if kind == "bfloat16" else np.dtype(kind).itemsize


def _numbers(raw: bytes, kind: str) -> np.ndarray:
    if kind == "bfloat16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(bytearray(raw), kind)  # a bytearray, so that the array can be written to


class _Reader(pickle.Unpickler):
    """A pickle machine that knows a handful of names and refuses all others.

    Args:
        file: a binary file at the start of a pickle; left behind its end.
        load_storage: (kind, key, count) to the one-dimensional array of that storage; None where none may occur.
    """

    def __init__(self, file, load_storage=None):
        super().__init__(file, encoding="utf-8")
        self._load_storage = load_storage
        self._storages = {}

    def find_class(self, module, name):
        # fresh functions for every file: what a pickle may do to them does not outlive its reading
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _STORAGES:
            return _Kind(_STORAGES[name])
        if (module, name) == ("torch", "Size"):
            return lambda sizes=(): tuple(sizes)
        if module == "torch._utils":
            if name == "_rebuild_tensor":
                return lambda storage, offset, size, stride: _view(storage, offset, size, stride)
            if name == "_rebuild_tensor_v2":
                return lambda storage, offset, size, stride, *_: _view(storage, offset, size, stride)
            if name == "_rebuild_parameter":
                return lambda tensor, *_: tensor
        raise UserError(
            f"weights: the checkpoint names {module}.{name}. Only tensors, dicts, lists and numbers are read from a "
            "PyTorch file, because anything else can run code. Save the weights alone: "
            "torch.save(model.state_dict(), path)."
        )

    def persistent_load(self, pid):
        if self._load_storage is None or not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise ValueError("tensor data where none belongs")
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, _Kind) or not isinstance(count, int) or count < 0 or (len(pid) == 6 and pid[5]):
            raise ValueError(f"tensor data {key!r} is described in a form that is not supported")
        if key not in self._storages:
            self._storages[key] = self._load_storage(kind, key, count)
        return self._storages[key]


class _Kind(str):
    """The type of the numbers in a storage; immutable, so that a pickle cannot change it."""

    __slots__ = ()


def _view(storage, offset, size, stride) -> np.ndarray:
    """A tensor of `size` in a storage, `stride` in elements; checked, since NumPy would read beyond the end."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, np.ndarray) or len(size) != len(stride):
        raise ValueError("a tensor without its data")
    if not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError(f"a tensor of size {size} and stride {stride}")
    count = math.prod(size)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if count else offset
    # a stride of 0 would let a few bytes unfold into a tensor of any size
    if count > storage.size or (count and last >= storage.size):
        raise ValueError(f"a tensor of size {tuple(size)} lies outside its {storage.size} numbers")
    steps = tuple(s * storage.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:] if count else storage[:0], tuple(size), steps)
