"""`Anomaly`: whether an image is anomalous, and where."""

import cv2
import numpy as np

from visiontasks.drawing.colors import GRAY, color
from visiontasks.drawing.maps import anomalies_drawn
from visiontasks.drawing.masks import tinted
from visiontasks.drawing.panels import Entry, captioned
from visiontasks.evaluation.metrics.anomaly import Anomaly as AnomalyMetric
from visiontasks.evaluation.tasks.task import Task
from visiontasks.sample import VOID

STEPS = 10_000  # of the map's 16-bit PNG: 10000 is the threshold


class Anomaly(Task):
    """Predictions are {"map": float32 (h, w), "score": float32 ()}, in units of their thresholds: anomalous from 1 on.

    Restored predictions have the map in the original image's pixels. Of the classes the first one is normal, all others
    are anomalous.
    """

    main_metric = "image_auroc"

    def restore(self, prediction, placement):
        restored = placement.restore_map(prediction["map"][..., None])
        return {"map": restored.reshape(restored.shape[:2]), "score": np.float32(prediction["score"])}

    def metric(self):
        return AnomalyMetric()

    def image_score(self, sample, prediction):
        """From 0 to 1, how far the score is on the right side of the threshold."""
        if sample.label is None or sample.label < 0:
            return float("nan")
        score = float(prediction["score"])
        return score / (1 + score) if sample.label else 1 / (1 + score)

    def draw_truth(self, image, sample):
        entries = [Entry("not labeled")]
        if sample.label is not None and sample.label >= 0:
            entries = [Entry(self.names[sample.label])]
        if sample.mask is None:
            return captioned(image, entries)
        share, void = ((sample.mask > 0) & (sample.mask != VOID)).mean(), (sample.mask == VOID).mean()
        if share:
            entries.append(Entry("anomalous", color(1), float(share)))
        if void:
            entries.append(Entry("void", GRAY, float(void)))
        return captioned(tinted(image, np.where(sample.mask == VOID, VOID, sample.mask > 0), [0]), entries)

    def draw_prediction(self, image, prediction):
        verdict = "anomalous" if prediction["score"] >= 1 else self.names[0]
        return anomalies_drawn(image, prediction["map"], f"{verdict}: score {prediction['score']:.2f}")

    def to_json(self, prediction):
        """{"anomalous", "score", "share": of pixels that are anomalous}."""
        score, share = float(prediction["score"]), float((prediction["map"] >= 1).mean())
        return {"anomalous": score >= 1, "score": float(f"{score:.6g}"), "share": float(f"{share:.6g}")}

    def attachments(self, prediction):
        """{"map.png": 16 bits, the map times 10000, so that 10000 is the threshold; at most 65535}."""
        values = np.clip(np.round(STEPS * prediction["map"]), 0, np.iinfo(np.uint16).max)
        return {"map.png": cv2.imencode(".png", values.astype(np.uint16))[1].tobytes()}
