"""The published EfficientPose files (Keras 2, `.h5`): a backbone's weights, its head's, and their keypoints."""

from pathlib import Path

import numpy as np

from visiontasks.errors import RecipeError, UserError
from visiontasks.skeleton import Skeleton
from visiontasks.weights import transfer
from visiontasks.weights.h5_file import read_h5_file

URL = "https://github.com/daniegr/EfficientPose, folder models/keras"
CLASSES = ("person",)
# those of MPII, Andriluka et al. 2014, in the files' order; sigmas are COCO's, of the four that COCO lacks MMPose's
MPII_PERSON = Skeleton(
    (
        "head_top",
        "upper_neck",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
        "thorax",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "pelvis",
        "right_hip",
        "right_knee",
        "right_ankle",
        "left_hip",
        "left_knee",
        "left_ankle",
    ),
    limbs=[
        (0, 1), (1, 5), (5, 2), (2, 3), (3, 4), (5, 6), (6, 7), (7, 8), (5, 9), (9, 10), (10, 11), (11, 12), (9, 13),
        (13, 14), (14, 15),
    ],
    sigmas={"head_top": 0.026, "upper_neck": 0.026, "thorax": 0.026, "pelvis": 0.026},
)  # fmt: skip
# outputs that serve training alone, and the enlargement of the heat maps by a fixed rule
_LEFT_OUT = ("pass1_skeleton_pafs/", "pass2_detection1_confs/", "upscaled_")
_MAPS = "pass3_detection2_confs"  # the layer of the heat maps, our head's


def is_published(weights: str | Path | None) -> bool:
    """Whether weights are a file of this kind, by its name: `.h5`, but not Keras 3's `.weights.h5`."""
    return weights is not None and str(weights).endswith(".h5") and not str(weights).endswith(".weights.h5")


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


def load_backbone(model, path: str | Path):
    """Load a published file into a backbone of the same variant.

    Raises:
        UserError: the file cannot be read, or does not fit; the text lists what.
    """
    transfer.assign(model, _parts(path)[0], str(path))


def _parts(path) -> tuple[dict, dict]:
    """The arrays of the backbone and of the heat maps."""
    arrays = read_efficientpose(path)
    maps = {key: array for key, array in arrays.items() if key.startswith(f"{_MAPS}/")}
    return {key: array for key, array in arrays.items() if key not in maps}, maps


def check(weights: str, heads: dict[str, dict]):
    """Raise unless `weights` are a published file's, and the recipe's head is what the published network ends in.

    Args:
        weights: the file; it need not exist.
        heads: {key: {name: NAME, its arguments}}.

    Raises:
        RecipeError: they are not, or another head is.
    """
    if not is_published(weights):
        raise RecipeError(f"expected a published EfficientPose file (.h5) from {URL}, got {weights!r}.", "weights")
    head = next(iter(heads.values()))
    if len(heads) > 1 or head["name"] != "pose_heatmap":
        raise RecipeError(
            "expected the published network's head, {name: pose_heatmap, layers: 0}, alone; got "
            f"{list(heads.values())}. For the backbone only, give them to the backbone.",
            "weights",
        )
    for argument, choices in (
        ("layers", (0,)),
        ("loss", (None, "squared")),
        ("level", (None, "C3")),
        ("simcc", (None,)),
    ):
        if head.get(argument) not in choices:
            raise RecipeError(
                f"expected {choices[-1]!r}, as the published network has it, got {head.get(argument)!r}. Set it so, or "
                "give the weights to the backbone only.",
                f"head.{argument}",
            )


def load(model, path: str | Path) -> list[str]:
    """Load a published file into a VisionModel of its backbone with a `pose_heatmap` head of no layers.

    Returns:
        A line for each thing that was not loaded.

    Raises:
        UserError: the file does not exist, or does not fit.
    """
    if not Path(path).is_file():
        raise UserError(f"expected a file from {URL}; got {str(path)!r}, and no such file exists.", "weights")
    backbone, maps = _parts(path)
    transfer.assign(model.backbone, backbone, str(path))
    (head,) = model.heads.values()
    if tuple(head.skeleton) != tuple(MPII_PERSON):
        names = ", ".join(head.skeleton[:5])
        return [f"other keypoints than MPII's: {names} …; so the heat maps start from random weights"]
    variables = {f"{_MAPS}/{variable.name}": variable for variable in head.maps.weights}
    return transfer.assign_variables(head.name, variables, maps, str(path))
