"""What a training runs on, so that one that goes on elsewhere can say that its bits may differ."""

import functools
import importlib
import platform

import keras

from visiontasks.training.devices import processor


@functools.cache
def versions() -> dict[str, str]:
    """{what: its name, number or version}: the backend, the devices, and the packages that compute."""
    backend = keras.backend.backend()
    if backend == "torch":  # of which Keras lists no devices
        import torch

        devices = torch.cuda.device_count() or 1
    else:
        devices = len(keras.distribution.list_devices())
    packages = {name: importlib.import_module(name).__version__ for name in ("visiontasks", "keras", "numpy", backend)}
    machine = {"processor": processor(), "devices": str(devices), "python": platform.python_version()}
    return {"backend": backend, **packages, **machine}


def changed(before: dict[str, str]) -> str:
    """A sentence on what differs from the `versions()` of before; "" if nothing does."""
    now = versions()
    keys = sorted(key for key in before | now if before.get(key) != now.get(key))
    parts = "; ".join(f"{key} {before.get(key)}, now {now.get(key)}" for key in keys)
    return f"note: results may differ from those of an uninterrupted run: {parts}" if keys else ""
