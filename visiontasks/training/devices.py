"""Which devices a run uses, and the precision that suits them."""

import contextlib
import os

from visiontasks.errors import UserError


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
        found = [d.get("compute_capability", (0, 0)) for d in details]
        return min((float(f"{major}.{minor}") for major, minor in found), default=None)
    if backend == "jax":
        import jax

        gpus = [d for d in jax.devices() if d.platform == "gpu"]
        return min((float(getattr(d, "compute_capability", 0)) for d in gpus), default=None)
    import torch

    found = [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]
    return min((float(f"{major}.{minor}") for major, minor in found), default=None)


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
            "train.devices: gpu was asked for, but the Keras backend sees none. Install the GPU build "
            '(pip install "visiontasks[gpu]"), or use train.devices=auto.'
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
    raise UserError("train.devices: all needs the TensorFlow or JAX backend; PyTorch's runs on one device here.")


def _check_split(batch, count):
    if batch % count:
        nearest = max(1, round(batch / count)) * count
        raise UserError(f"data.batch: {batch} pictures cannot be split over {count} devices; {nearest} can.")
