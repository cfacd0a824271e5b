"""`PosedInstances`: a box, a class, a mask and keypoints for each object."""

import numpy as np

from visiontasks.evaluation.metrics.metric import Metric
from visiontasks.evaluation.tasks.instances import Instances
from visiontasks.evaluation.tasks.pose import Pose
from visiontasks.evaluation.tasks.task import Task
from visiontasks.inference.cell_masks import masks_of_cells


class PosedInstances(Pose):
    """Predictions are those of `Pose`, and `masks` as those of `Instances`; so are restored ones.

    Instead of `masks` they may have maps: `people`, int32 (h, w), the row of the person that a cell belongs to, -1 for
    none, and `segmentation`, float32 (h, w), the probability of a person; see visiontasks/inference/cell_masks.py.
    """

    columns = (*Pose.columns, "masks")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._instances = Instances(*arguments)

    merge = Task.merge  # keypoints and masks would be merged into different objects

    def restore(self, prediction, placement):
        if "people" in prediction:
            rows, _ = self.restored(prediction, placement)
            people, segmentation = (np.asarray(prediction[name]) for name in ("people", "segmentation"))
            return super().restore(prediction, placement) | {
                "masks": masks_of_cells(people, segmentation, rows, placement)
            }
        return self._instances.restore(prediction, placement) | super().restore(prediction, placement)

    def metric(self):
        return Both(super().metric(), self._instances.metric())

    def below(self, image, masks, order, classes):
        known = order[masks.known[order]]
        return self._instances.filled(image, masks, known, classes)

    def to_json(self, prediction):
        values = self._instances.to_json(prediction)
        for entry, posed in zip(values["objects"], super().to_json(prediction), strict=True):
            entry |= posed
        return values

    def attachments(self, prediction):
        return self._instances.attachments(prediction)


class Both(Metric):
    """Two metrics of the same predictions, whose results are joined."""

    def __init__(self, one: Metric, other: Metric):
        self._metrics = one, other

    def update(self, sample, prediction):
        for metric in self._metrics:
            metric.update(sample, prediction)

    def result(self):
        one, other = (metric.result() for metric in self._metrics)
        return one | {key: value for key, value in other.items() if key not in one}

    def charts(self):
        return {key: figure for metric in reversed(self._metrics) for key, figure in metric.charts().items()}
