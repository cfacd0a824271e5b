"""The task heads, one file each; `visiontasks.heads.UNet` imports `unet.py` on use."""

from visiontasks import keras_backend
from visiontasks.registry import catalog


def __getattr__(name):
    by_symbol = {part.symbol: part for part in catalog.parts("heads").values()}
    if name not in by_symbol:
        raise AttributeError(f"visiontasks.heads has no {name!r}; it has {', '.join(sorted(by_symbol))}")
    keras_backend.require()
    return by_symbol[name].load()


def __dir__():
    return sorted(part.symbol for part in catalog.parts("heads").values())
