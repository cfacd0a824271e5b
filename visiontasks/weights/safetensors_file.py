"""Reads `.safetensors` files into NumPy arrays, with the library's own reader and without PyTorch.

A `.safetensors` file holds numbers alone, so nothing in it can run. NumPy has no bfloat16, and so the library's
NumPy functions refuse such tensors; here they become float32.
"""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize

from visiontasks.errors import UserError

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?"}
_DTYPES |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)}


def read_safetensors_file(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a `.safetensors` file by name, in the file's own types, bfloat16 as float32.

    Raises:
        UserError: no such file, or it is damaged, incomplete, or holds numbers of a type that NumPy lacks.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights: expected a .safetensors file; got {str(path)!r}, and no such file exists.")
    try:
        return {name: _array(name, **entry) for name, entry in deserialize(path.read_bytes())}
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"weights: {str(path)!r} is no .safetensors file that can be read, or it is damaged or incomplete "
            f"({type(error).__name__}: {error}). Download it again."
        ) from error


def _array(name, dtype, shape, data):
    if dtype not in _DTYPES:
        raise ValueError(f"{name}: numbers of type {dtype}, expected one of {', '.join(_DTYPES)}")
    array = np.frombuffer(data, _DTYPES[dtype])
    if dtype == "BF16":  # the upper half of a float32
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(shape)
