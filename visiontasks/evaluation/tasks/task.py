"""`Task`: what the host does with a head's predictions: back to original pixels, score, draw, write down."""

import abc
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.errors import UserError
from visiontasks.evaluation.metrics.metric import Metric
from visiontasks.geometry import Placement
from visiontasks.inference.views import View
from visiontasks.sample import Sample


class Task(abc.ABC):
    """One kind of task, for one list of class names. A file `evaluation/tasks/NAME.py` has the class named as the file.

    Attributes:
        field: the Sample field that holds the truth and gives the class names.
        main_metric: the figure by which the best checkpoint is chosen; higher is better.
        answers_by_picture: whether the answer is of the picture as a whole; then a part of it may be cut off.
    """

    field: str
    main_metric: str
    answers_by_picture = False

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)

    @abc.abstractmethod
    def restore(self, prediction: dict[str, np.ndarray], placement: Placement) -> dict[str, np.ndarray]:
        """One picture's prediction (no batch axis), as the head decoded it, in the original picture's pixels."""

    def merge(self, predictions: Sequence[dict[str, np.ndarray]], views: Sequence[View]) -> dict[str, np.ndarray]:
        """One restored prediction out of those of several views of one picture, each as the head decoded it.

        Raises:
            UserError: the task's answers cannot be merged.
        """
        raise UserError(f"tile, flip: answers of the task {type(self).__name__} cannot be merged; leave both out.")

    @abc.abstractmethod
    def metric(self) -> Metric:
        """A fresh accumulator over (Sample in original pixels, restored prediction)."""

    @abc.abstractmethod
    def draw_truth(self, image: np.ndarray, sample: Sample) -> np.ndarray:
        """A copy of `image`, uint8 (H, W, 3) in the sample's pixels, with the sample's labels of this task drawn."""

    @abc.abstractmethod
    def draw_prediction(self, image: np.ndarray, prediction: dict[str, np.ndarray]) -> np.ndarray:
        """A copy of `image`, uint8 (H, W, 3), with a restored prediction drawn."""

    @abc.abstractmethod
    def record(self, prediction: dict[str, np.ndarray], out: Path, stem: str):
        """A restored prediction as JSON-ready values for `predictions.json`; files it needs go to `out`/`stem`…"""
