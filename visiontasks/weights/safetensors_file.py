"""Reads `.safetensors` files into NumPy arrays, with the library's reader and without PyTorch.

A `.safetensors` file has only numbers, no code. The library's NumPy functions reject bfloat16, which NumPy does not
have; here it becomes float32.
"""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize

from visiontasks.errors import UserError

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?"}
_DTYPES |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)}


def read_safetensors_file(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a `.safetensors` file by name, in the file's types, bfloat16 as float32.

    Raises:
        UserError: no such file, or it is damaged, incomplete, or has numbers of a type that NumPy does not have.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"expected a .safetensors file; got {str(path)!r}, and no such file exists.", "weights")
    try:
        return {name: _array(name, **entry) for name, entry in deserialize(path.read_bytes())}
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"{str(path)!r} is not a readable .safetensors file, or it is damaged or incomplete "
            f"({type(error).__name__}: {error}). Download it again.",
            "weights",
        ) from error


def _array(name, dtype, shape, data):
    if dtype not in _DTYPES:
        raise ValueError(f"{name}: numbers of type {dtype}, expected one of {', '.join(_DTYPES)}")
    array = np.frombuffer(data, _DTYPES[dtype])
    if dtype == "BF16":  # the upper half of a float32
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(shape)
