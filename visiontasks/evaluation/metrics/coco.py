"""COCO's figures for boxes, computed by pycocotools, or by faster-coco-eval, from plain arrays."""

import contextlib
import dataclasses
import gc
import importlib.util
import io

import numpy as np

from visiontasks.errors import UserError
from visiontasks.evaluation.metrics.matching import Found, Truths

# in the order of COCOeval.stats
FIGURES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
BACKENDS = {
    "pycocotools": ("pycocotools.coco", "pycocotools.cocoeval", "COCOeval"),
    "faster-coco-eval": ("faster_coco_eval", "faster_coco_eval", "COCOeval_faster"),
}
RECALLS = np.linspace(0, 1, 101)  # where COCO samples a curve


@dataclasses.dataclass(frozen=True)
class CocoScores:
    """What COCOeval found; NaN where there is nothing to find.

    Attributes:
        figures: {name of FIGURES: value}.
        by_class: float64 (C,), each class's AP over IoU 0.50:0.95.
        curves: float64 (101, C), each class's precision at RECALLS, at IoU 0.5.
    """

    figures: dict[str, float]
    by_class: np.ndarray
    curves: np.ndarray


def check_backend(backend: str):
    """Raise UserError unless `backend` is known and installed."""
    if backend not in BACKENDS:
        raise UserError(f"backend: expected one of {', '.join(BACKENDS)}; got {backend!r}.")
    if importlib.util.find_spec(BACKENDS[backend][0].partition(".")[0]) is None:
        raise UserError(f"backend: {backend} is not installed; pip install {backend}, or use pycocotools.")


def coco_scores(truths: Truths, found: Found, classes: int, backend: str = "pycocotools") -> CocoScores:
    """Score all pictures' detections; at most 100 a picture and class count, as COCO has it."""
    if not len(truths.picture):
        empty = np.full((len(RECALLS), classes), np.nan)
        return CocoScores(dict.fromkeys(FIGURES, float("nan")), empty[0], empty)
    api, module, name = BACKENDS[backend]
    api, evaluator = importlib.import_module(api), getattr(importlib.import_module(module), name)
    # a picture without any box adds nothing
    pictures = [{"id": i} for i in (np.union1d(truths.picture, found.picture) + 1).tolist()]
    categories = [{"id": i + 1} for i in range(classes)]
    areas = found.boxes[:, 2] * found.boxes[:, 3]
    # pycocotools prints what it does, unasked
    with contextlib.redirect_stdout(io.StringIO()), _no_garbage_collection():
        given = _records(truths, area=truths.areas, iscrowd=truths.crowd.astype(int))
        answered = _records(found, area=areas, score=found.scores)
        evaluation = evaluator(
            _index(api, pictures, categories, given), _index(api, pictures, categories, answered), iouType="bbox"
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = np.asarray(evaluation.eval["precision"])[..., 0, -1]  # IoU, recall, class; areas of all, 100 detections
    precision = np.where(precision < 0, np.nan, precision)
    stats = [float("nan") if value < 0 else float(value) for value in evaluation.stats[: len(FIGURES)]]
    return CocoScores(dict(zip(FIGURES, stats, strict=True)), precision.mean(axis=(0, 1)), precision[0])


@contextlib.contextmanager
def _no_garbage_collection():
    """Millions of records are made and all are in use: searching them for garbage takes a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _records(rows: Truths | Found, **columns: np.ndarray) -> list[dict]:
    """COCO annotations. Their ids begin at 1: pycocotools takes a match with the object of id 0 for none."""
    columns = {
        "image_id": rows.picture + 1,
        "category_id": rows.classes + 1,
        "bbox": rows.boxes,
        "id": np.arange(1, len(rows.picture) + 1),
        **columns,
    }
    names = tuple(columns)
    return [
        dict(zip(names, values, strict=True)) for values in zip(*(c.tolist() for c in columns.values()), strict=True)
    ]


def _index(api, pictures, categories, annotations):
    coco = api.COCO()
    coco.dataset = {"images": pictures, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco
