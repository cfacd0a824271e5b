"""`Instances`: a box, a class and a mask for each object."""

import dataclasses

import cv2
import numpy as np

from visiontasks.drawing.boxes import boxed
from visiontasks.drawing.colors import color
from visiontasks.drawing.masks import filled
from visiontasks.drawing.panels import Entry, captioned
from visiontasks.evaluation.metrics.instances import Instances as InstancesMetric
from visiontasks.evaluation.metrics.matching import HIT
from visiontasks.evaluation.tasks.detection import SHOWN_FROM, Detection, styles_of
from visiontasks.inference.merging_masks import merge_masks
from visiontasks.inference.pasting import pasted
from visiontasks.instance_masks import InstanceMasks


class Instances(Detection):
    """Predictions are those of `Detection` and {"masks": float32 (K, S, S)}, probabilities on a grid over each box.

    Restored predictions are {"boxes", "scores", "classes", "masks": InstanceMasks} of the valid ones, best first, in
    the original image's pixels. In drawings objects of one class have different colors, those of several classes their
    classes' colors; in those of an evaluation, false positives and missed objects have boxes.
    """

    main_metric = "mask_ap"
    most_shown = None
    columns = (*Detection.columns, "masks")
    object_styles = {**Detection.object_styles, HIT: ("solid", "no box: {} detected")}
    detection_styles = {**Detection.detection_styles, HIT: ("solid", "no box: {} true positives")}

    def restore(self, prediction, placement):
        rows, found = self.restored(prediction, placement)
        boxes = placement.restore_boxes(np.asarray(prediction["boxes"])[rows], clip=False)
        return {**found, "masks": pasted(np.asarray(prediction["masks"])[rows], boxes, placement.original)}

    def merge(self, predictions, views):
        """The objects of all views, each once; see `merge_masks`."""
        size, parts = views[0].image_size, []
        for prediction, view in zip(predictions, views, strict=True):
            part = self.restore(prediction, view.placement)
            top, left, bottom, right = view.window
            matrix = [[-1, 0, right], [0, 1, top]] if view.flipped else [[1, 0, left], [0, 1, top]]
            parts.append(
                {**part, "boxes": view.restore_boxes(part["boxes"]), "masks": part["masks"].moved(matrix, size)}
            )
        counts = [len(part["scores"]) for part in parts]
        windows = np.array([(left, top, right, bottom) for top, left, bottom, right in (v.window for v in views)])
        columns = (np.concatenate([part[name] for part in parts]) for name in ("boxes", "scores", "classes"))
        masks = InstanceMasks([shape for part in parts for shape in part["masks"].shapes], size)
        numbers = np.arange(len(views)).repeat(counts)
        merged = merge_masks(*columns, masks, windows[numbers], numbers)
        return dict(zip(("boxes", "scores", "classes", "masks"), merged, strict=True))

    def metric(self):
        return InstancesMetric(self.names)

    def draw_truth(self, image, sample, found=None):
        """The objects, the smaller ones on top; those without a mask as boxes, ignored ones gray."""
        if sample.boxes is None or sample.classes is None:
            return captioned(image, [Entry("not labeled")])
        masks = sample.instance_masks
        masks = InstanceMasks([None] * len(sample.boxes), image.shape[:2]) if masks is None else masks
        ignored = np.zeros(len(sample.boxes), bool) if sample.ignored is None else sample.ignored
        order = np.argsort((sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1), kind="stable")
        drawn = self.filled(image, masks, order[(masks.known & ~ignored)[order]], sample.classes)
        styles = styles_of(found, self.object_styles, len(order))
        named = [ignored[i] or not masks.known[i] or styles[i] != "solid" for i in order]
        marks = [self._mark(sample.boxes[i], sample.classes[i], style=styles[i], ignored=ignored[i]) for i in order]
        # the others only keep their place, so that no text covers them
        plain = [dataclasses.replace(mark, text="", outlined=False) for mark in marks]
        marks = [mark if name else other for mark, other, name in zip(marks, plain, named, strict=True)]
        return captioned(boxed(image, marks, drawn), self._truth_entries(sample.classes, ignored, found))

    def draw_prediction(self, image, prediction, outcomes=None):
        """The objects of score 0.3 and above, the best on top; the others are counted below."""
        shown, entries = self._shown(prediction, outcomes)
        boxes, scores, classes = (prediction[name] for name in ("boxes", "scores", "classes"))
        drawn = self.filled(image, prediction["masks"], shown, classes)
        styles = styles_of(outcomes, self.detection_styles, len(scores))
        marks = [
            self._mark(boxes[i], classes[i], scores[i], styles[i], styles[i] == "gray", styles[i] != "solid")
            for i in shown
        ]
        return captioned(boxed(image, marks, drawn), entries)

    def _swatch(self, number):
        return self._color(number) if len(self.names) > 1 else None

    def filled(self, image, masks, order, classes):
        """The fitted image with these objects' masks, the first on top."""
        numbers = classes if len(self.names) > 1 else np.arange(len(masks))
        return filled(image, masks.flat(order), [color(int(number)) for number in numbers])

    def to_json(self, prediction):
        """{"objects": [{"box", "class", "score", "mask"}]}, as `Detection`'s list; a mask is COCO's run lengths.

        {"size": [height, width], "counts": text} is what pycocotools reads.
        """
        objects = super().to_json(prediction)
        order = np.argsort(-prediction["scores"], kind="stable")
        for entry, number in zip(objects, order.tolist(), strict=True):
            entry["mask"] = prediction["masks"].text(number)
        return {"objects": objects}

    def attachments(self, prediction):
        """{"instances.png": an index PNG of 16 bits: a pixel is 0, or the place in the list of its object, from 1}."""
        order = np.argsort(-prediction["scores"], kind="stable")
        shown = order[prediction["scores"][order] >= SHOWN_FROM]
        ranks = np.zeros(len(order) + 1, np.uint16)
        ranks[order] = np.arange(1, len(order) + 1)
        labels = prediction["masks"].flat(shown)
        return {"instances.png": cv2.imencode(".png", ranks[labels])[1].tobytes()}
