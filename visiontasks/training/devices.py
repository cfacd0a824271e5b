"""The devices that a run uses, and the precision for them."""

import contextlib
import ctypes
import os
import platform
import sys
from pathlib import Path

from visiontasks.errors import UserError

FEW_CORES = 4  # the settings below were measured on 2 cores; on many cores one heap for all threads may be slow


def suit_few_cores():
    """Make training on a machine with few cores faster by settings of the process; otherwise change nothing.

    Call it before TensorFlow, and the threads that read images, start.
    """
    if cores() <= FEW_CORES:
        keep_memory()
        as_batch_job()


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_batch_job():
    """Tell Linux that this process is a batch job. Call it before TensorFlow starts threads, which inherit it.

    Otherwise the scheduler often keeps all threads of an operation on one core while another core is idle: on 2 cores
    every second epoch took 1.6 times as long.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def keep_memory():
    """Tell glibc to keep freed memory. Call it before threads start.

    Each step allocates and frees the same tensors. Returning them to the system costs 45,000 page faults per step, a
    seventh of its time. With fixed shapes, keeping them needs no more memory than the peak.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:  # constants of glibc's malloc.h; not all C libraries have it
        mallopt(-8, 1)  # M_ARENA_MAX: one heap for all threads
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never shrink it
        mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from it too


def hide_gpus():
    """Hide GPUs from every backend. Call it before Keras is imported."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["JAX_PLATFORMS"] = "cpu"


def free_memory() -> int | None:
    """Bytes that a step on the backend's first device may take: of a GPU as far as the backend says, else of the host.

    None if it is not known.
    """
    import keras

    backend = keras.backend.backend()
    if gpu_capability() is None:
        return free_host_memory()
    if backend == "jax":
        import jax

        stats = jax.devices()[0].memory_stats() or {}
        return stats["bytes_limit"] - stats["bytes_in_use"] if {"bytes_limit", "bytes_in_use"} <= stats.keys() else None
    if backend == "torch":
        import torch

        return torch.cuda.mem_get_info()[0]
    return None  # TensorFlow does not say how much a GPU has


def free_host_memory(root: Path = Path("/")) -> int | None:
    """Bytes of the host's memory that are free, within the limits of this process and of its container.

    Args:
        root: of the file system, for tests.
    """
    room = []
    with contextlib.suppress(OSError, ValueError, IndexError):  # Linux
        lines = (root / "proc/meminfo").read_text().splitlines()
        room += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    with contextlib.suppress(OSError, ValueError):  # a container; "max": no limit
        group = root / "sys/fs/cgroup"
        used = int((group / "memory.current").read_text())
        with contextlib.suppress(OSError, ValueError, KeyError):  # of it, files that were read and can be dropped
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            used -= int(stat["inactive_file"])
        room.append(int((group / "memory.max").read_text()) - used)
    with contextlib.suppress(ImportError, OSError, ValueError):  # ulimit -v
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int((root / "proc/self/statm").read_text().split()[0])
            room.append(limit - pages * resource.getpagesize())
    return max(0, min(room)) if room else None


def gpu_capability() -> float | None:
    """The lowest CUDA compute capability of the GPUs that the Keras backend sees; None without one."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        details = [tf.config.experimental.get_device_details(d) for d in tf.config.list_physical_devices("GPU")]
        capabilities = [d.get("compute_capability", (0, 0)) for d in details]
        return min((float(f"{major}.{minor}") for major, minor in capabilities), default=None)
    if backend == "jax":
        import jax

        gpus = [d for d in jax.devices() if d.platform == "gpu"]
        return min((float(getattr(d, "compute_capability", 0)) for d in gpus), default=None)
    import torch

    capabilities = [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]
    return min((float(f"{major}.{minor}") for major, minor in capabilities), default=None)


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether Linux says that the processor multiplies bfloat16 (AVX512_BF16) and has no AMX, which may give NaN."""
    flags = _cpu_says("flags", cpuinfo).split()
    return "avx512_bf16" in flags and not any(flag.startswith("amx_") for flag in flags)


def processor() -> str:
    """The processor's name, as far as the system says it."""
    return _cpu_says("model name") or platform.processor() or platform.machine()


def _cpu_says(key, cpuinfo=Path("/proc/cpuinfo")) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def precision(asked: str, capability: float | None) -> str:
    """The Keras dtype policy for a recipe's `precision`.

    `auto` is bfloat16, which needs no loss scaling, from compute capability 8; float16 with loss scaling on older GPUs;
    and float32 on a CPU. (`visiontasks.precision` decides before, where a CPU may be faster with bfloat16.)
    """
    if asked != "auto":
        return asked
    if capability is None:
        return "float32"
    return "mixed_bfloat16" if capability >= 8 else "mixed_float16"


def check(asked: str, capability: float | None):
    """Raise if a GPU is asked for and the backend sees none.

    Raises:
        UserError: `devices` is `gpu` and the backend sees none.
    """
    if asked == "gpu" and capability is None:
        raise UserError(
            "gpu was asked for, but the Keras backend sees none. Install its GPU build (TensorFlow's: "
            'pip install "visiontasks[gpu]"), or use auto.',
            "devices",
        )


def scope(asked: str, batch: int, joint: bool = False):
    """A context for building and compiling a model on the devices asked for.

    `all` copies the model to every GPU (without a GPU, to every logical CPU) and splits each batch. So do several
    processes that train together (`joint`), of which each has its own devices.

    Raises:
        UserError: the batch cannot be split evenly, or the backend is PyTorch.
    """
    if asked != "all" and not joint:
        return contextlib.nullcontext()
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        _check_split(batch, len(devices))
        return tf.distribute.MirroredStrategy([device.name for device in devices]).scope()
    if keras.backend.backend() == "jax":
        _check_split(batch, len(keras.distribution.list_devices()))
        return keras.distribution.DataParallel(auto_shard_dataset=False).scope()  # the loader gives a process its share
    raise UserError("all needs the TensorFlow or JAX backend; PyTorch's runs on one device here.", "devices")


def _check_split(batch, count):
    if batch % count:
        nearest = max(1, round(batch / count)) * count
        raise UserError(f"{batch} images cannot be split over {count} devices; {nearest} can.", "batch")
