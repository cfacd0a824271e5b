"""Makes a GPU give the same bits each time: some of its kernels add up in the order in which threads end."""

import os
import re

_XLA = "--xla_gpu_deterministic_ops=true"
# what TensorFlow, PyTorch and XLA say of such an operation
_REFUSED = re.compile(
    r"deterministic (gpu |cpu )?(implementation|kernel|version)|determinism is (enabled|on)|op.determinism"
    r"|use_deterministic_algorithms|xla_gpu_deterministic_ops|is nondeterministic",
    re.IGNORECASE,
)


def prepare():
    """Set what backends read as they start. Call it before Keras is imported."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    if _XLA not in flags:
        os.environ["XLA_FLAGS"] = " ".join([*flags, _XLA])
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # PyTorch asks for it


def require():
    """Have the Keras backend take deterministic kernels only, for the rest of the process.

    An operation that has none raises an error of the backend when it runs.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def refused(error: Exception) -> bool:
    """Whether an operation has no deterministic kernel where such kernels alone were asked for."""
    asked = _XLA in os.environ.get("XLA_FLAGS", "").split()
    return asked and not isinstance(error, OSError) and _REFUSED.search(str(error)) is not None
