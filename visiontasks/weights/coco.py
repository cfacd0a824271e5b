"""torchvision's detectors trained on COCO: their files, networks and classes."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from visiontasks.errors import RecipeError, UserError
from visiontasks.skeleton import COCO_PERSON
from visiontasks.weights import rcnn, retinanet, ssd

NAME = "coco"


@dataclasses.dataclass(frozen=True)
class Detector:
    """A published checkpoint of one backbone with one head.

    Args:
        parts: names of backbone and head.
        file: the file's name, which ends in the first eight digits of its SHA-256.
        ap: published box AP on COCO's val2017, in percent.
        backbone: the backbone's arguments for torchvision's network.
        head: the head's arguments.
        layer_of: from a module of the checkpoint to the Keras layer; see `checkpoint.load_whole`.
        by_class: {module or prefix of modules: (rows per class, whether the background has rows)}.
        pixels: (mean, std) of its images' normalization, if not ImageNet's.
        grids: of dense layers on flattened feature maps; see `checkpoint.load_whole`.
        classes: the checkpoint's; None: COCO's 80.
        by_point: modules with rows of COCO's keypoints.
    """

    parts: tuple[str, str]
    file: str
    ap: float
    backbone: dict
    head: dict
    layer_of: Callable[[str], str]
    by_class: dict[str, tuple[int, bool]]
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    grids: dict[str, tuple[int, int]] | None = None
    classes: tuple[str, ...] | None = None
    by_point: tuple[str, ...] = ()


_RCNN_ROWS = {"roi_heads.box_predictor.cls_score": (1, True), "roi_heads.box_predictor.bbox_pred": (4, True)}
_MASK_ROWS = _RCNN_ROWS | {"roi_heads.mask_predictor.mask_fcn_logits": (1, True)}
# https://pytorch.org/vision/stable/models.html, {torchvision's name: the checkpoint}
DETECTORS = {
    "ssd300_vgg16": Detector(
        parts=("vgg16", "ssd"),
        file="ssd300_vgg16_coco-b556d3b4.pth",
        ap=25.1,
        backbone={"ceil_pooling": True},
        head=ssd.SSD300,
        layer_of=ssd.layer_of,
        by_class={"head.classification_head": (1, True)},
        pixels=((122.99925, 116.9991, 103.9992), (1.0, 1.0, 1.0)),  # Caffe's, as its VGG was trained
    ),
    "retinanet_resnet50_fpn": Detector(
        parts=("resnet50", "retinanet"),
        file="retinanet_resnet50_fpn_coco-eeacb38b.pth",
        ap=36.4,
        backbone=retinanet.PUBLISHED_BACKBONE,
        head=retinanet.HEAD,
        layer_of=retinanet.layer_of,
        by_class={"head.classification_head.cls_logits": (1, False)},
    ),
    "fasterrcnn_resnet50_fpn": Detector(
        parts=("resnet50", "rcnn"),
        file="fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        ap=37.0,
        backbone=rcnn.PUBLISHED_BACKBONE,
        head=rcnn.HEAD,
        layer_of=rcnn.layer_of,
        by_class=_RCNN_ROWS,
        grids=rcnn.GRIDS,
    ),
    "maskrcnn_resnet50_fpn": Detector(
        parts=("resnet50", "mask_rcnn"),
        file="maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        ap=37.9,
        backbone=rcnn.PUBLISHED_BACKBONE,
        head=rcnn.HEAD | {"mask": rcnn.MASK},
        layer_of=rcnn.layer_of,
        by_class=_MASK_ROWS,
        grids=rcnn.GRIDS,
    ),
    "keypointrcnn_resnet50_fpn": Detector(
        parts=("resnet50", "keypoint_rcnn"),
        file="keypointrcnn_resnet50_fpn_coco-fc266e95.pth",
        ap=54.6,
        backbone=rcnn.PUBLISHED_BACKBONE,
        head=rcnn.HEAD | {"keypoints": rcnn.KEYPOINTS},
        layer_of=rcnn.layer_of,
        by_class=_RCNN_ROWS,
        grids=rcnn.GRIDS,
        classes=("person",),
        by_point=("roi_heads.keypoint_predictor",),
    ),
    "fasterrcnn_resnet50_fpn_v2": Detector(
        parts=("resnet50", "rcnn"),
        file="fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        ap=46.7,
        backbone={},
        head=rcnn.HEAD_V2,
        layer_of=rcnn.layer_of,
        by_class=_RCNN_ROWS,
        grids=rcnn.GRIDS_V2,
    ),
    "maskrcnn_resnet50_fpn_v2": Detector(
        parts=("resnet50", "mask_rcnn"),
        file="maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        ap=47.4,
        backbone={},
        head=rcnn.HEAD_V2 | {"mask": rcnn.MASK | {"batch_norm": True}},
        layer_of=rcnn.layer_of,
        by_class=_MASK_ROWS,
        grids=rcnn.GRIDS_V2,
    ),
}


def classes_of(detector: Detector) -> tuple[str, ...]:
    """The classes of a checkpoint."""
    return tuple(class_ids()) if detector.classes is None else detector.classes


@functools.cache
def class_ids() -> dict[str, int]:
    """COCO's 80 classes and their category ids, 1 to 90 with gaps: each has a row in the checkpoints' last layers."""
    lines = Path(__file__).with_name("coco_classes.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(" ", 1) for line in lines if not line.startswith("#"))
    return {name: int(number) for number, name in pairs}


def find(weights: str, backbone: dict, heads: dict[str, dict]) -> Detector:
    """The checkpoint's description for a recipe's parts, each {name: NAME, its arguments}.

    Raises:
        RecipeError: `weights` are neither "coco" nor a PyTorch file, there is no checkpoint for these parts, or an
            argument differs from the trained network's.
    """
    if weights != NAME and Path(weights).suffix not in (".pth", ".pt", ".bin", ".safetensors"):
        raise RecipeError(
            f"expected {NAME} or a file with torchvision's names (.pth, .pt, .bin, .safetensors), got "
            f"{weights!r}. For the backbone only, give them to the backbone.",
            "weights",
        )
    head = next(iter(heads.values()))
    name = head["name"]
    for argument, form, options in (("mask", "mask_rcnn", rcnn.MASK), ("keypoints", "keypoint_rcnn", rcnn.KEYPOINTS)):
        if name == form or name == "rcnn" and head.get(argument) is not None:
            name = form  # what is not given is as torchvision's
            head = {**head, argument: {**options, **(head.get(argument) or {})}}
    detectors = [one for one in DETECTORS.values() if one.parts == (backbone["name"], name) and len(heads) == 1]
    if not detectors:
        known = ", ".join(dict.fromkeys(f"{b} with {h}" for b, h in (one.parts for one in DETECTORS.values())))
        given = f"{backbone['name']} with {', '.join(part['name'] for part in heads.values())}"
        raise RecipeError(f"there are whole checkpoints for {known}; got {given}.", "weights")
    for detector in reversed(detectors):  # the later forms need more; a recipe near none of them is told of the first
        needed = {**detector.backbone, **detector.head}
        if all((head if key in detector.head else backbone).get(key) == value for key, value in needed.items()):
            return detector
    detector = detectors[0]
    for where, given, needed in (("backbone", backbone, detector.backbone), ("head", head, detector.head)):
        for key, value in needed.items():
            if given.get(key) != value:
                raise RecipeError(
                    f"the checkpoint is for {value!r}, got {given.get(key, 'the default')!r}. Set it so, or leave "
                    "weights out.",
                    f"{where}.{key}",
                )
    return detector


def load(model, detector: Detector, weights: str) -> list[str]:
    """Load a whole checkpoint into a VisionModel, with the rows of its classes by name.

    A file is COCO's if its last layers have a row for each category id up to 90, whatever its name. If the head has
    classes that COCO does not have, the weights that depend on classes keep their initial values, to be trained. Any
    other file must have the head's classes, in their order.

    Args:
        model: the detector's model.
        detector: the result of `find`.
        weights: "coco" or a file.

    Returns:
        A line for each thing that was not loaded.

    Raises:
        UserError: the file is not available, or does not fit.
    """
    from visiontasks.weights import checkpoint, torchvision

    (head,) = model.heads.values()
    path = torchvision.download(detector.file) if weights == NAME else Path(weights)
    if not path.is_file():
        raise UserError(f"expected {NAME} or a file; got {str(path)!r}, and no such file exists.", "weights")
    tensors = checkpoint.read_checkpoint(path)
    skipped, change = [], None
    if detector.classes is not None:
        change = _of_its_own(detector, head, skipped)
    elif _has_coco_rows(tensors, detector.by_class, len(head.classes)):
        unknown = [name for name in head.classes if name not in class_ids()]
        if unknown:
            skipped.append(
                f"not of COCO's classes: {', '.join(unknown[:5])}{' …' if len(unknown) > 5 else ''}; so "
                f"{', '.join(detector.by_class)} start from random weights"
            )
        change = functools.partial(_rows_of, detector.by_class, None if unknown else head.classes)
    checkpoint.load_whole(model, path, detector.layer_of, change=change, grids=detector.grids, tensors=tensors)
    if detector.pixels:
        pixels = model.backbone.get_layer("pixels")
        pixels.mean, pixels.std = detector.pixels
    return skipped


def _of_its_own(detector: Detector, head, skipped: list[str]) -> Callable:
    """`change` for a checkpoint of a few classes; a line in `skipped` for each thing that it does not load."""
    fresh = ()
    if len(head.classes) != len(detector.classes):
        skipped.append(f"{len(head.classes)} classes, the checkpoint has {', '.join(detector.classes)}")
        fresh += tuple(detector.by_class)
    if head.skeleton is not None and tuple(head.skeleton) != tuple(COCO_PERSON):
        skipped.append(f"other keypoints than COCO's: {', '.join(head.skeleton[:5])} …")
        fresh += detector.by_point
    skipped[:] = [f"{line}; so {', '.join(fresh)} start from random weights" for line in skipped]
    return lambda name, array: None if name.startswith(tuple(f"{module}." for module in fresh)) else array


def _has_coco_rows(tensors: dict, by_class: dict, classes: int) -> bool:
    """Whether a checkpoint's last layers have a row for each id from 0 to 90, for each anchor.

    If the head's `classes` would need as many rows too, the file counts as one of the head's classes.
    """
    rows = max(class_ids().values()) + 1
    last = [(array.shape[0], kind) for name, array in tensors.items() if (kind := _kind(name, by_class))]
    return bool(last) and all(count % rows == 0 and (classes + background) % rows for count, (_, background) in last)


def _kind(name, by_class):
    return next((kind for module, kind in by_class.items() if name.startswith(f"{module}.")), None)


def _rows_of(by_class: dict, classes: Sequence[str] | None, name: str, array: np.ndarray) -> np.ndarray | None:
    """The part of a tensor to load: the classes' rows, None for nothing, or all if it does not depend on classes."""
    kind = _kind(name, by_class)
    if kind is None:
        return array
    if classes is None:
        return None
    each, background = kind
    ids = class_ids()
    kept = [0] * background + [ids[name] for name in classes]
    # the first axis counts anchors, then classes, then the rows of each class
    grouped = array.reshape(-1, max(ids.values()) + 1, each, *array.shape[1:])
    return np.ascontiguousarray(grouped[:, kept].reshape(-1, *array.shape[1:]))
