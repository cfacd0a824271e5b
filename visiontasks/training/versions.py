"""What a training runs on, so that one that goes on elsewhere can say that its bits may differ."""

import importlib.metadata
import platform

import keras


def versions() -> dict[str, str]:
    """{what: its name, number or version}: the backend, the devices, and the packages that compute."""
    backend = keras.backend.backend()
    if backend == "torch":  # of which Keras lists no devices
        import torch

        devices = torch.cuda.device_count() or 1
    else:
        devices = len(keras.distribution.list_devices())
    packages = {name: importlib.metadata.version(name) for name in ("visiontasks", "keras", backend)}
    return {"backend": backend, "devices": str(devices), "python": platform.python_version(), **packages}


def changed(before: dict[str, str]) -> str:
    """A sentence on what differs from the `versions()` of before; "" if nothing does."""
    now = versions()
    keys = sorted(key for key in before | now if before.get(key) != now.get(key))
    parts = "; ".join(f"{key} {before.get(key)}, now {now.get(key)}" for key in keys)
    return f"note: other bits than without the stop, because of another machine or version ({parts})" if keys else ""
