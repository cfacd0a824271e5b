"""Reads `.safetensors` files into NumPy arrays.

The format, https://github.com/huggingface/safetensors: eight bytes with the length of a JSON header, the header
({name: {dtype, shape, data_offsets}}), the numbers.
"""

import json
import math
import struct
from pathlib import Path

import numpy as np

from visiontasks.errors import UserError

MOST_HEADER = 100_000_000  # bytes, as the format says

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}
_DTYPES |= {"U8": "u1", "BOOL": "?", "BF16": "<u2"}


def read_safetensors_file(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a `.safetensors` file by name, in the file's own types, bfloat16 as float32.

    Raises:
        UserError: no such file, or it is damaged or incomplete.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights: expected a .safetensors file; got {str(path)!r}, and no such file exists.")
    try:
        return _read(path.read_bytes())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise UserError(
            f"weights: {str(path)!r} is no .safetensors file that can be read, or it is damaged or incomplete "
            f"({type(error).__name__}: {error}). Download it again."
        ) from error


def _read(content: bytes) -> dict[str, np.ndarray]:
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(len(content) - 8, MOST_HEADER):
        raise ValueError(f"a header of {length} bytes in a file of {len(content)}")
    header, numbers = json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]
    found, held = {}, 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        if kind not in _DTYPES:
            raise ValueError(f"{name}: numbers of type {kind}, expected one of {', '.join(_DTYPES)}")
        size = math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize
        if not 0 <= begin <= end <= len(numbers) or end - begin != size:
            raise ValueError(f"{name}: expected {size} bytes, got {begin} to {end} of {len(numbers)}")
        held += size
        if held > len(numbers):  # tensors may not share bytes: a small file could unfold to any size
            raise ValueError(f"{name}: the tensors are larger than the file")
        array = np.frombuffer(bytearray(numbers[begin:end]), _DTYPES[kind])
        if kind == "BF16":  # the upper half of a float32
            array = (array.astype("<u4") << 16).view("<f4")
        found[name] = array.reshape(shape)
    return found
