"""The card, its driver, the versions of what is used, and the fastest matrix product measured on it."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import time

import keras
import numpy as np

from gpu_measures import child

PACKAGES = ("keras", "jax", "jaxlib", "torch", "torchvision", "tensorflow", "timm", "numpy", "grain", "albumentations")
PACKAGES += ("opencv-python-headless",)
CPU = "CPU"
WIDTH, TINY_WIDTH = 8192, 256
DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}


def measure(tiny: bool):
    """Report what this machine is, and how fast.

    Raises:
        RuntimeError: the backend has no GPU, and the measurements are not tiny.
    """
    child.report(card=card(), driver=driver(), cores=len(os.sched_getaffinity(0)), python=platform.python_version())
    child.report(backend=keras.backend.backend(), versions=versions())
    if not tiny and card().startswith(CPU):
        raise RuntimeError("no GPU")
    with child.alone():
        child.report(
            peak_flops={policy: peak(dtype, TINY_WIDTH if tiny else WIDTH) for policy, dtype in DTYPES.items()}
        )


def card() -> str:
    """The name of the device that the backend computes on."""
    name = keras.backend.backend()
    if name == "jax":
        import jax

        device = jax.local_devices()[0]
        found = device.device_kind if device.platform == "gpu" else None
    elif name == "torch":
        import torch

        found = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    else:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        found = tf.config.experimental.get_device_details(gpus[0]).get("device_name") if gpus else None
    return found or f"{CPU} ({processor()})"


def processor() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def driver() -> str | None:
    """NVIDIA's driver; None without one."""
    if not shutil.which("nvidia-smi"):
        return None
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    return done.stdout.strip().partition("\n")[0] or None


def versions() -> dict[str, str]:
    """{package: version} of what is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak(dtype: str, width: int, chained: int = 32, rounds: int = 4) -> float:
    """Floating-point operations a second of square matrix products of random numbers, the fastest of a few rounds."""
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((2, width, width), "float32")
    a, b = (keras.ops.cast(one, dtype) for one in (drawn[0], drawn[1] / width**0.5))  # products stay of order 1

    def products():
        x = a
        for _ in range(chained):
            x = keras.ops.matmul(x, b)
        return float(keras.ops.convert_to_numpy(keras.ops.cast(x[0, 0], "float32")))  # waits for the device

    products()
    fastest = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        products()
        fastest = min(fastest, time.perf_counter() - begun)
    return 2 * width**3 * chained / fastest
