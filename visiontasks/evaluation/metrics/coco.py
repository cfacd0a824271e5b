"""COCO's detection metrics, computed by pycocotools or faster-coco-eval from plain arrays."""

import contextlib
import dataclasses
import gc
import importlib.util
import io
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from visiontasks.errors import UserError
from visiontasks.evaluation.metrics.matching import Detections, GroundTruth
from visiontasks.ops.numpy_keypoints import boxes_around

# in the order of COCOeval.stats
METRICS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
KEYPOINT_METRICS = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar", "ar50", "ar75", "ar_medium", "ar_large")
MOST_PEOPLE = 20  # of an image, that COCO scores
BACKENDS = {
    "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval", "COCOeval"),
    "faster-coco-eval": ("faster_coco_eval", "faster_coco_eval", "COCOeval_faster"),
}
RECALLS = np.linspace(0, 1, 101)  # COCO's recall thresholds


@dataclasses.dataclass(frozen=True)
class CocoScores:
    """COCOeval's results; NaN where there is no object.

    Attributes:
        metrics: {name in METRICS, or of keypoints in KEYPOINT_METRICS: value}.
        by_class: float64 (C,), the AP of each class over IoU 0.50:0.95.
        curves: float64 (101, C), the precision of each class at RECALLS, at IoU 0.5.
    """

    metrics: dict[str, float]
    by_class: np.ndarray
    curves: np.ndarray


def check_backend(backend: str):
    """Raise UserError if `backend` is unknown or not installed."""
    if backend not in BACKENDS:
        raise UserError(f"expected one of {', '.join(BACKENDS)}; got {backend!r}.", "backend")
    if importlib.util.find_spec(BACKENDS[backend][0].partition(".")[0]) is None:
        raise UserError(f"{backend} is not installed; pip install {backend}, or use pycocotools.", "backend")


def coco_scores(
    targets: GroundTruth,
    detections: Detections,
    classes: int,
    backend: str = "pycocotools",
    masks: tuple[list[dict], list[dict]] | None = None,
) -> CocoScores:
    """Score the detections of all images; as in COCO, at most 100 per image and class count.

    Args:
        masks: the run lengths of the targets and of the detections, which are then scored instead of the boxes.
    """
    if not len(targets.image):
        return _nothing(METRICS, classes)
    api, module, name = BACKENDS[backend]
    api, evaluator = importlib.import_module(api), getattr(importlib.import_module(module), name)
    # an image without any box changes nothing
    numbers = (np.union1d(targets.image, detections.image) + 1).tolist()
    images = [{"id": number, "height": 0, "width": 0} for number in numbers]  # run lengths have their own size
    categories = [{"id": i + 1} for i in range(classes)]
    areas = detections.boxes[:, 2] * detections.boxes[:, 3]
    if masks is not None:
        areas = np.array([coco_mask.area(runs) for runs in masks[1]], np.float64)  # of a list it takes 255 at most
    # pycocotools prints its progress
    with contextlib.redirect_stdout(io.StringIO()), _no_garbage_collection():
        truth = _records(targets, area=targets.areas, iscrowd=targets.crowd.astype(int))
        results = _records(detections, area=areas, score=detections.scores)
        for records, runs in zip((truth, results), masks or (), strict=False):
            for record, segmentation in zip(records, runs, strict=True):
                record["segmentation"] = segmentation
        evaluation = evaluator(
            _index(api.COCO, images, categories, truth),
            _index(api.COCO, images, categories, results),
            iouType="bbox" if masks is None else "segm",
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return _scores(evaluation, METRICS)


def coco_keypoint_scores(
    targets: GroundTruth,
    detections: Detections,
    classes: int,
    points: tuple[np.ndarray, np.ndarray],
    sigmas: Sequence[float],
) -> CocoScores:
    """Score keypoints by OKS in place of IoU, with pycocotools; at most 20 objects of an image and class count.

    An object without a labeled keypoint is ignored. Objects below 32² pixels have no metric of their own.

    Args:
        points: those of the targets, float32 (N, K, 3), and of the detections, (D, K, 3).
        sigmas: one per keypoint.
    """
    if not len(targets.image):
        return _nothing(KEYPOINT_METRICS, classes)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": int(number)} for number in np.union1d(targets.image, detections.image) + 1]
    categories = [{"id": i + 1} for i in range(classes)]
    labeled = (points[0][..., 2] > 0).sum(axis=1)
    # the boxes of results are those around all keypoints, as COCO.loadRes makes them
    around = boxes_around(points[1], np.ones(points[1].shape[:2], bool))
    sizes = around[:, 2:] - around[:, :2]
    results = dataclasses.replace(detections, boxes=np.concatenate([around[:, :2], sizes], axis=1))
    with contextlib.redirect_stdout(io.StringIO()), _no_garbage_collection():
        truth = _records(targets, area=targets.areas, iscrowd=targets.crowd.astype(int), num_keypoints=labeled)
        results = _records(results, area=sizes.prod(axis=1), score=detections.scores)
        for records, rows in zip((truth, results), points, strict=True):
            for record, row in zip(records, rows, strict=True):
                record["keypoints"] = row.astype(np.float64).ravel().tolist()
        evaluation = COCOeval(
            _index(COCO, images, categories, truth), _index(COCO, images, categories, results), "keypoints"
        )
        evaluation.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return _scores(evaluation, KEYPOINT_METRICS)


def _nothing(metrics, classes):
    empty = np.full((len(RECALLS), classes), np.nan)
    return CocoScores(dict.fromkeys(metrics, float("nan")), empty[0], empty)


def _scores(evaluation, metrics):
    precision = np.asarray(evaluation.eval["precision"])[..., 0, -1]  # IoU, recall, class; all areas, most detections
    precision = np.where(precision < 0, np.nan, precision)
    stats = [float("nan") if value < 0 else float(value) for value in evaluation.stats[: len(metrics)]]
    return CocoScores(dict(zip(metrics, stats, strict=True)), precision.mean(axis=(0, 1)), precision[0])


@contextlib.contextmanager
def _no_garbage_collection():
    """Millions of records are created and all are in use: looking for garbage among them takes a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _records(rows: GroundTruth | Detections, **columns: np.ndarray) -> list[dict]:
    """COCO annotations. Ids begin at 1, because pycocotools treats a match with the object of id 0 as no match."""
    columns = {
        "image_id": rows.image + 1,
        "category_id": rows.classes + 1,
        "bbox": rows.boxes,
        "id": np.arange(1, len(rows.image) + 1),
        **columns,
    }
    names = tuple(columns)
    return [
        dict(zip(names, values, strict=True)) for values in zip(*(c.tolist() for c in columns.values()), strict=True)
    ]


def _index(kind, images, categories, annotations):
    coco = kind()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco
