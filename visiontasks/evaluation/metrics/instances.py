"""`Instances`: average precision of masks and boxes, panoptic quality, and the matching score of microscopy."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from visiontasks.drawing.charts import histogram_figure
from visiontasks.evaluation.metrics.coco import coco_scores
from visiontasks.evaluation.metrics.confusion import by_class
from visiontasks.evaluation.metrics.detection import Detection
from visiontasks.evaluation.metrics.label_maps import LabelMaps
from visiontasks.evaluation.metrics.metric import Metric
from visiontasks.instance_masks import InstanceMasks

SCORED_FROM = 0.5  # the score from which a mask is part of the label map that PQ and the matching score are about
VISIBLE = 0.5  # the share of it that better ones must leave


class Instances(Metric):
    """Scores masks from predictions {"boxes", "scores", "classes", "masks": InstanceMasks}, boxes as in `Detection`.

    `result` gives pycocotools' metrics of masks, "mask_ap", the mean over IoU 0.50:0.95 and over the classes,
    "mask_ap50", "mask_ap75", "mask_ap_small", … and "mask_ap/NAME"; and those of boxes, "box_ap" ….

    The others are about a label map, in which a pixel belongs to one object: masks with a score of 0.5 and above, in
    the order of their scores, each without the pixels of those before it, and left out if those hide more than half.
    "pq" is the panoptic quality: the mean over the classes of Σ IoU of matches / (TP + FP / 2 + FN / 2), where matches
    have an IoU above 0.5; "sq" is the mean IoU of matches, 0 for a class without any, and "rq" the F1 (Kirillov et al.
    2019, https://arxiv.org/abs/1801.00868, section 4.1). "matching_score" is TP / (TP + FP + FN), which microscopy
    calls average precision: objects and masks of a class are matched so that most have a sufficient IoU (Caicedo et al.
    2019, https://doi.org/10.1038/s41592-019-0612-7). It is the mean over IoU 0.50:0.95, from the counts of all images;
    "matching_score50", "matching_score75" and "matching_score90" are at one IoU. "matching_score_by_image" is the mean
    over the images instead, as in the Data Science Bowl 2018; an image with neither objects nor masks is left out.

    An object that has no mask is, for masks, an ignored region of its class, as COCO's crowds: a mask of that class of
    which more than half lies on such regions is no error.

    Args:
        names: of the classes.
        backend: as for `Detection`.
    """

    def __init__(self, names: Sequence[str], backend: str = "pycocotools"):
        self.names, self.backend = tuple(names), backend
        self._detection, self._label_maps = Detection(names, backend), LabelMaps(len(self.names))
        # in the order of the rows of `_detection`: run lengths of objects and masks, and what else an object has
        self._targets, self._masks = [], []
        self._ignored, self._areas = [np.zeros(0, bool)], [np.zeros(0)]

    def update(self, sample, prediction):
        if sample.boxes is None or sample.classes is None:
            return
        self._detection.update(sample, prediction)
        known = np.ones(len(self.names), bool) if sample.known is None else sample.known
        size, rows, seen = sample.image.shape[:2], known[sample.classes], known[prediction["classes"]]
        boxes, classes = sample.boxes[rows], sample.classes[rows]
        targets = InstanceMasks([None] * len(rows), size) if sample.instance_masks is None else sample.instance_masks
        targets = targets[rows]
        without = ~targets.known | targets.empty
        ignored = without if sample.ignored is None else without | sample.ignored[rows]
        shapes = ((_rectangle(b),) if no else s for s, no, b in zip(targets.shapes, without, boxes, strict=True))
        targets = InstanceMasks(shapes, size)
        areas = targets.areas() if sample.areas is None else sample.areas[rows]
        masks, scores, predicted_classes = (prediction[name][seen] for name in ("masks", "scores", "classes"))
        self._targets += map(targets.rle, range(len(targets)))
        self._masks += map(masks.rle, range(len(masks)))
        self._ignored.append(ignored)
        self._areas.append(np.asarray(areas, np.float64))

        order = np.argsort(-scores, kind="stable")
        objects = np.argsort(areas, kind="stable")  # the smaller ones on top, so that none vanishes
        labels = targets.flat(objects[~ignored[objects]])
        kinds = np.unique(classes[ignored]).tolist()
        regions = {
            kind: (targets.flat(np.flatnonzero(ignored & (classes == kind))) >= 0) & (labels < 0) for kind in kinds
        }
        predicted = masks.flat(order[scores[order] >= SCORED_FROM], VISIBLE)
        self._label_maps.add(labels, classes, predicted, predicted_classes, regions)

    def result(self):
        targets, detections = self._detection.rows
        targets = dataclasses.replace(targets, crowd=np.concatenate(self._ignored), areas=np.concatenate(self._areas))
        coco = coco_scores(targets, detections, len(self.names), self.backend, (self._targets, self._masks))
        boxes = {f"box_{key}": value for key, value in self._detection.result().items()}
        return {
            **{f"mask_{key}": value for key, value in coco.metrics.items()},
            **self._label_maps.result(),
            **boxes,
            **by_class("mask_ap", self.names, coco.by_class),
        }

    def charts(self):
        """The charts of the boxes, and how well masks fit: the IoU of each object with the best mask of its class."""
        figures = {f"box_{key}": figure for key, figure in self._detection.charts().items()}
        if self._label_maps.best:
            figures["mask_iou"] = histogram_figure(
                self._label_maps.best, "IoU of an object with its best mask", "objects"
            )
        return figures


def _rectangle(box) -> np.ndarray:
    x1, y1, x2, y2 = box.astype(np.float64)
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
