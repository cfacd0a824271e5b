"""`Task`: what the host does with a head's predictions: restore to original pixels, score, draw, export."""

import abc
from collections.abc import Sequence

import numpy as np

from visiontasks.data.sources.source import Source
from visiontasks.errors import UserError
from visiontasks.evaluation.metrics.metric import Metric
from visiontasks.geometry import Placement
from visiontasks.inference.views import View
from visiontasks.sample import Sample
from visiontasks.skeleton import Skeleton


class Task(abc.ABC):
    """A task with its class names. The file `evaluation/tasks/NAME.py` has the class `Name`.

    Args:
        names: of the classes.
        label_set: the head's; "" for the one without a name.
        skeleton: of the head's keypoints, if it has some.

    Attributes:
        main_metric: the metric that selects the best checkpoint; higher is better.
        whole_image: whether a prediction is for the whole image, so that cropping is allowed.
    """

    main_metric: str
    whole_image = False

    def __init__(self, names: Sequence[str], label_set: str = "", skeleton: Skeleton | None = None):
        self.names, self.label_set, self.skeleton = tuple(names), label_set, skeleton

    @property
    def mergeable(self) -> bool:
        """Whether the predictions of several views of an image can be merged."""
        return type(self).merge is not Task.merge

    @abc.abstractmethod
    def restore(self, prediction: dict[str, np.ndarray], placement: Placement) -> dict[str, np.ndarray]:
        """Restore one image's decoded prediction (no batch axis) to the original image's pixels."""

    def merge(self, predictions: Sequence[dict[str, np.ndarray]], views: Sequence[View]) -> dict[str, np.ndarray]:
        """One restored prediction out of those of several views of one image, each as the head decoded it.

        Raises:
            UserError: the task's predictions cannot be merged.
        """
        raise UserError(f"predictions of the task {type(self).__name__} cannot be merged; leave both out.")

    @abc.abstractmethod
    def metric(self) -> Metric:
        """A fresh accumulator over (Sample of the label set in original pixels, restored prediction)."""

    def image_score(self, sample: Sample, prediction: dict[str, np.ndarray]) -> float:
        """How good one image's restored prediction is, 1 at best, to find the worst and the best images; NaN: no score.

        The Sample is of the label set. By default the main metric of the image alone.
        """
        metric = self.metric()
        metric.update(sample, prediction)
        return metric.result()[self.main_metric]

    @abc.abstractmethod
    def draw_truth(self, image: np.ndarray, sample: Sample) -> np.ndarray:
        """A copy of `image`, uint8 (H, W, 3), with the labels of this task drawn; the Sample is of the label set."""

    @abc.abstractmethod
    def draw_prediction(self, image: np.ndarray, prediction: dict[str, np.ndarray]) -> np.ndarray:
        """A copy of `image`, uint8 (H, W, 3), with a restored prediction drawn."""

    def draw_maps(self, image: np.ndarray, prediction: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
        """[(title, drawing)] of the maps that a restored prediction was read from; by default none."""
        return []

    def draw_comparison(
        self, image: np.ndarray, sample: Sample, prediction: dict[str, np.ndarray]
    ) -> list[tuple[str, np.ndarray]]:
        """[(title, drawing)] of the ground truth and of the prediction, as an evaluation shows them."""
        return [
            ("ground truth", self.draw_truth(image, sample)),
            ("prediction", self.draw_prediction(image, prediction)),
        ]

    @abc.abstractmethod
    def to_json(self, prediction: dict[str, np.ndarray]) -> list | dict:
        """A restored prediction as JSON-ready values with class names; a dict where there are `attachments`."""

    def attachments(self, prediction: dict[str, np.ndarray]) -> dict[str, bytes]:
        """{file name, such as "mask.png": its bytes}: the parts of a restored prediction that are not JSON."""
        return {}

    def results(self, prediction: dict[str, np.ndarray], sample: Sample, source: Source) -> list[dict] | None:
        """A restored prediction in the format of the data set's tools, such as COCO's; None if there is none."""
        return None
