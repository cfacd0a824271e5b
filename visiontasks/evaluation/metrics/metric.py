"""`Metric`: a score accumulated image by image on the host."""

import abc

import numpy as np

from visiontasks.errors import DataError
from visiontasks.sample import Sample


class Metric(abc.ABC):
    """Accumulates over images, in original pixels; memory does not grow with the image size."""

    @abc.abstractmethod
    def update(self, sample: Sample, prediction: dict[str, np.ndarray]):
        """Count one image: its Sample (the targets) and its restored prediction. Without labels it is left out."""

    @abc.abstractmethod
    def result(self) -> dict[str, float]:
        """{name: value in 0..1}, for a class as "iou/NAME"; NaN if undefined."""

    def charts(self) -> dict[str, object]:
        """{file stem: matplotlib Figure}, such as a confusion matrix."""
        return {}


def check_classes(what: str, sample: Sample, values: np.ndarray, count: int):
    """Raise unless class indices are within 0..count-1.

    Raises:
        DataError: the data have other classes than the model.
    """
    low, high = int(np.min(values, initial=0)), int(np.max(values, initial=0))
    if low < 0 or high >= count:
        raise DataError(
            f"{what} of {sample.id or sample.path}: expected classes 0..{count - 1}, got {low if low < 0 else high}; "
            "evaluate on data with the classes that the model was trained for."
        )
