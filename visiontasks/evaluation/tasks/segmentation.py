"""`Segmentation`: a class for every pixel."""

import cv2
import numpy as np

from visiontasks.drawing.colors import GRAY, color
from visiontasks.drawing.masks import tinted
from visiontasks.drawing.panels import Entry, captioned
from visiontasks.evaluation.metrics.segmentation import Segmentation as SegmentationMetric
from visiontasks.evaluation.tasks.task import Task
from visiontasks.sample import VOID

BLOCK = 1 << 22  # pixels counted at once


class Segmentation(Task):
    """Predictions are {"probabilities": float32 (h, w, C)} in pixels of the network's canvas.

    Restored predictions are {"mask": int32 (H, W), the most likely class, "score": float32 (H, W), its probability}, in
    the original image's pixels. In drawings the class called "background", in any case, is not tinted. All others are:
    a model predicts a class called "void" or "unlabeled" as it predicts any other.
    """

    main_metric = "mean_iou"

    def restore(self, prediction, placement):
        probabilities = prediction["probabilities"]

        def of_class(number):
            return placement.restore_map(probabilities[..., number : number + 1])[..., 0]

        return _likeliest(of_class, probabilities.shape[-1])

    def merge(self, predictions, views):
        """For each pixel the class with the highest mean probability in the views that show it."""
        maps = [prediction["probabilities"] for prediction in predictions]
        windows = [np.s_[top:bottom, left:right] for top, left, bottom, right in (view.window for view in views)]
        seen = np.zeros(views[0].image_size, np.float32)
        for window in windows:
            seen[window] += 1

        def of_class(number):
            total = np.zeros(seen.shape, np.float32)
            for one, view, window in zip(maps, views, windows, strict=True):
                restored = view.placement.restore_map(one[..., number : number + 1])[..., 0]
                total[window] += view.restore_map(restored)
            return total / seen

        return _likeliest(of_class, maps[0].shape[-1])

    def metric(self):
        return SegmentationMetric(self.names)

    def draw_truth(self, image, sample):
        return captioned(image, [Entry("not labeled")]) if sample.mask is None else self._draw(image, sample.mask)

    def draw_prediction(self, image, prediction):
        return self._draw(image, prediction["mask"])

    def _draw(self, image, mask):
        shares = _shares(mask)
        void = shares.pop(VOID, None)
        untinted = [i for i, name in enumerate(self.names) if name.casefold() == "background"]
        entries = [
            Entry(self.names[i], GRAY if i in untinted else color(i), share, filled=i not in untinted)
            for i, share in shares.items()
        ]
        if void:
            entries.append(Entry("void", GRAY, void))
        return captioned(tinted(image, mask, untinted), entries)

    def to_json(self, prediction):
        """{"classes": {name: share of pixels}}, largest first."""
        return {"classes": {self.names[i]: float(f"{share:.6g}") for i, share in _shares(prediction["mask"]).items()}}

    def attachments(self, prediction):
        """{"mask.png": an index PNG of the class numbers, 8 bits per pixel, or 16 with more than 255 classes}."""
        mask = prediction["mask"].astype(np.uint8 if len(self.names) <= VOID else np.uint16)
        return {"mask.png": cv2.imencode(".png", mask)[1].tobytes()}


def _likeliest(of_class, count) -> dict[str, np.ndarray]:
    """{"mask", "score"} from the float32 (H, W) map of each class.

    Computed class by class, because all probabilities of a large image may not fit into memory.
    """
    score = of_class(0)
    mask = np.zeros(score.shape, np.int32)
    for number in range(1, count):
        other = of_class(number)
        mask[other > score] = number
        np.maximum(score, other, out=score)
    return {"mask": mask, "score": score}


def _shares(mask) -> dict[int, float]:
    """{class number: its share of the pixels}, largest first."""
    counts = np.zeros(int(mask.max()) + 1, np.int64)
    for rows in np.array_split(mask, -(-mask.size // BLOCK)):  # bincount copies its input to int64
        counts += np.bincount(rows.ravel(), minlength=len(counts))
    order = np.argsort(-counts, kind="stable")
    return {int(i): float(counts[i] / mask.size) for i in order if counts[i]}
