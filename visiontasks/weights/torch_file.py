"""Reads PyTorch's checkpoint files into NumPy arrays, without PyTorch and without running code from them.

A checkpoint is a pickle, and a pickle is a program. Only names that rebuild tensors, containers and numbers are
allowed; any other name is rejected before it is looked up. There are two formats: the zip file of PyTorch 1.6 (2020)
and later, and the older sequence of pickles followed by raw numbers.
"""

import collections
import io
import math
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visiontasks.errors import UserError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

# number formats in the file; bfloat16 is the upper half of a float32 and is read as float32
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
_WRAPPERS = ("model_state_dict", "state_dict", "model")  # keys under which training scripts save the weights


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch checkpoint by name.

    Returns arrays in the file's types, bfloat16 as float32. Tensors that share memory in the file also share it here.
    Names of nested dicts are joined by dots. If the weights are under "state_dict", "model" or "model_state_dict", only
    those are returned. Numbers, strings and other entries without a tensor are left out.

    Raises:
        UserError: no such file; not a checkpoint, or a damaged or truncated one; or it names anything but tensors,
            containers and numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"expected a PyTorch checkpoint; got {str(path)!r}, and no such file exists.", "weights")
    try:
        content = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        if not isinstance(content, dict):
            raise ValueError(f"it is a {type(content).__name__}, not a dict of tensors")
        return _tensors(content, set())
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise any error
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{str(path)!r} is not a readable PyTorch checkpoint, or it is damaged or incomplete "
            f"({reason}). Download it again, or save it again with torch.save(model.state_dict(), path).",
            "weights",
        ) from error


def _tensors(content: dict, seen: set) -> dict[str, np.ndarray]:
    if id(content) in seen:  # dicts that contain each other would expand endlessly
        raise ValueError("a dict occurs in it twice")
    seen.add(id(content))
    if not any(isinstance(value, _Tensor) for value in content.values()):
        content = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), content)
    tensors = {}
    for key, value in content.items():
        if isinstance(value, _Tensor):
            tensors[str(key)] = value.array()
        elif isinstance(value, dict):
            tensors.update((f"{key}.{name}", array) for name, array in _tensors(value, seen).items())
    return tensors


def _read_zip(path: Path):
    held = 0

    def read(name):
        # PyTorch never compresses; compressed or overlapping entries could expand to any size
        nonlocal held
        info = archive.getinfo(name)
        held += info.file_size
        if info.compress_type != zipfile.ZIP_STORED or held > path.stat().st_size:
            raise ValueError(f"{name}: compressed, or more than the file holds")
        return archive.read(info)  # zipfile checks the CRC

    with zipfile.ZipFile(path) as archive:
        entries = {name.partition("/")[2]: name for name in archive.namelist()}
        if "data.pkl" not in entries:
            raise ValueError("a zip file without data.pkl")
        if "byteorder" in entries and read(entries["byteorder"]).strip() != b"little":
            raise ValueError("it was written on a big-endian machine")

        def load_storage(kind, key, count):
            name = entries[f"data/{key}"]
            if (size := archive.getinfo(name).file_size) != count * _item_size(kind):
                raise ValueError(f"tensor data {key}: expected {count} numbers, got {size} bytes")
            return _numbers(read(name), kind)

        return _Reader(io.BytesIO(read(entries["data.pkl"])), load_storage).load()


def _read_legacy(path: Path):
    with path.open("rb") as file:
        if _Reader(file).load() != LEGACY_MAGIC:
            raise ValueError("it does not begin like a checkpoint")
        if _Reader(file).load() != LEGACY_PROTOCOL or not _Reader(file).load()["little_endian"]:
            raise ValueError("its protocol or byte order is not supported")
        # tensors precede their numbers, so they are created empty and filled later
        storages, filled, held = {}, set(), 0

        def make_storage(kind, key, count):
            nonlocal held
            if key not in storages:
                held += count * _item_size(kind)
                if held > path.stat().st_size:
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
    return np.frombuffer(bytearray(raw), kind)  # a bytearray makes the array writable


class _Reader(pickle.Unpickler):
    """An unpickler that knows a few names and rejects all others.

    Args:
        file: a binary file at the start of a pickle; left after its end.
        load_storage: (kind, key, count) to the one-dimensional array of that storage; None if the pickle has none.
    """

    def __init__(self, file, load_storage=None):
        _check_memo(file)
        super().__init__(file, encoding="utf-8")
        self._load_storage = load_storage
        self._storages = {}

    def find_class(self, module, name):
        # new functions for every file: a pickle's changes to them do not outlive its reading
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
            f"the checkpoint names {module}.{name}. Only tensors, dicts, lists and numbers are read from a "
            "PyTorch file, because anything else can run code. Save the weights alone: "
            "torch.save(model.state_dict(), path).",
            "weights",
        )

    def persistent_load(self, pid):
        if self._load_storage is None or not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise ValueError("tensor data where none belongs")
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, _Kind) or not isinstance(count, int) or count < 0 or (len(pid) == 6 and pid[5]):
            raise ValueError(f"tensor data {key!r} is described in a form that is not supported")
        if key not in self._storages:
            self._storages[key] = _Storage(self._load_storage(kind, key, count))
        return self._storages[key]


class _Kind(str):
    """The type of the numbers in a storage; immutable, so that a pickle cannot change it."""

    __slots__ = ()


def _check_memo(file):
    """Reject a pickle with a memo index beyond its length: C's pickle allocates memory for all lower indices."""
    start = file.tell()
    for operation, argument, place in pickletools.genops(file):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > place - start:
            raise ValueError(f"memo number {argument} at byte {place - start}")
    file.seek(start)


# A running pickle only has these two and no arrays: it cannot change the items or attributes of a tuple, and a tensor
# cannot pass for a larger storage.
class _Storage(NamedTuple):
    """The numbers of one or more tensors."""

    numbers: np.ndarray


class _Tensor(NamedTuple):
    """A view of a storage, within its bounds: `size` numbers along each axis, `stride` elements apart."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> np.ndarray:
        numbers = self.storage.numbers
        steps = tuple(s * numbers.itemsize for s in self.stride)
        begin = self.offset if math.prod(self.size) else 0
        return np.lib.stride_tricks.as_strided(numbers[begin:], self.size, steps)


def _view(storage, offset, size, stride) -> _Tensor:
    """A tensor of `size` in a storage, `stride` in elements; checked, because NumPy would read beyond the end."""
    size, stride = tuple(size), tuple(stride)  # copies, which the pickle cannot change
    numbers = (offset, *size, *stride)
    if not isinstance(storage, _Storage) or len(size) != len(stride):
        raise ValueError("a tensor without its data")
    if not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError(f"a tensor of size {size} and stride {stride}")
    count = math.prod(size)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if count else offset
    # with a stride of 0 a few bytes could become a tensor of any size
    held = storage.numbers.size
    if count > held or (count and last >= held):
        raise ValueError(f"a tensor of size {size} lies outside its {held} numbers")
    return _Tensor(storage, offset, size, stride)
