"""Maps the published EfficientPose files (Keras 2, `.h5`) to the weights of the networks of that name."""

from pathlib import Path

import numpy as np

from visiontasks.weights import transfer
from visiontasks.weights.h5_file import read_h5_file

# outputs that serve training alone, and the enlargement of the heat maps by a fixed rule
_LEFT_OUT = ("pass1_skeleton_pafs/", "pass2_detection1_confs/", "upscaled_")


def read_efficientpose(path: str | Path) -> dict[str, np.ndarray]:
    """{"layer/variable": float32 array} of a published file, in the names and shapes of Keras 3.

    Raises:
        UserError: the file cannot be read.
    """
    arrays = read_h5_file(path)
    return {
        name.replace("/depthwise_kernel", "/kernel"): array
        for name, array in arrays.items()
        if not name.startswith(_LEFT_OUT)
    }


def load(model, path: str | Path):
    """Load a published file into a model of the same variant.

    Raises:
        UserError: the file cannot be read, or does not fit; the text lists what.
    """
    transfer.assign(model, read_efficientpose(path), str(path))
