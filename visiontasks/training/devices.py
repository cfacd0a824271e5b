"""Which devices a run uses, and the precision that suits them."""

import contextlib
import ctypes
import os
import sys

from visiontasks.errors import UserError

FEW_CORES = 4  # the next two were measured on 2 cores; one heap for the threads of many may slow them


def suit_few_cores():
    """Settings of the process that make training on a small machine faster; elsewhere nothing is touched.

    Call it before TensorFlow, and the threads that read images, start.
    """
    if cores() <= FEW_CORES:
        keep_memory()
        as_batch_job()


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_batch_job():
    """Tell Linux that this process is a batch job; call it before TensorFlow starts its threads, which inherit it.

    Otherwise its scheduler often keeps the threads of one operation on one core while another is idle: on 2 cores every
    second epoch took 1.6 times as long.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def keep_memory():
    """Tell glibc to keep the memory that is freed; call it before threads start.

    A step frees and takes the same tensors again. Given back to the system in between they cost 45,000 page faults a
    step, a seventh of its time. With fixed shapes, keeping them takes no more memory than the peak.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:  # glibc's malloc.h: of other C libraries only some have it
        mallopt(-8, 1)  # M_ARENA_MAX: one heap for all threads
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never cut it
        mallopt(-4, 0)  # M_MMAP_MAX: large blocks from it too


def hide_gpus():
    """Keep every backend from seeing a GPU. Only works before Keras is imported."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["JAX_PLATFORMS"] = "cpu"


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


def precision(asked: str, capability: float | None) -> str:
    """The Keras dtype policy for `precision: auto`, or what was asked for.

    bfloat16 needs no loss scaling but exists from compute capability 8 on; float16 with loss scaling serves older GPUs;
    on a CPU half precision is slower than float32.
    """
    if asked != "auto":
        return asked
    if capability is None:
        return "float32"
    return "mixed_bfloat16" if capability >= 8 else "mixed_float16"


def check(asked: str, capability: float | None):
    """Raise where a GPU was asked for and there is none.

    Raises:
        UserError: `devices` is `gpu` and the backend sees none.
    """
    if asked == "gpu" and capability is None:
        raise UserError(
            "devices: gpu was asked for, but the Keras backend sees none. Install the GPU build "
            '(pip install "visiontasks[gpu]"), or use devices=auto.'
        )


def scope(asked: str, batch: int):
    """A context in which a model is built and compiled for the devices asked for.

    `all` copies the model to every GPU (to every logical CPU where there is no GPU) and splits each batch.

    Raises:
        UserError: the batch cannot be split evenly, or the backend is PyTorch.
    """
    if asked != "all":
        return contextlib.nullcontext()
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        _check_split(batch, len(devices))
        return tf.distribute.MirroredStrategy([device.name for device in devices]).scope()
    if keras.backend.backend() == "jax":
        _check_split(batch, len(keras.distribution.list_devices()))
        return keras.distribution.DataParallel().scope()
    raise UserError("devices: all needs the TensorFlow or JAX backend; PyTorch's runs on one device here.")


def _check_split(batch, count):
    if batch % count:
        nearest = max(1, round(batch / count)) * count
        raise UserError(f"batch: {batch} images cannot be split over {count} devices; {nearest} can.")
