"""`Metric`: a score accumulated picture by picture on the host."""

import abc

import numpy as np

from visiontasks.sample import Sample


class Metric(abc.ABC):
    """Accumulates over pictures, in original pixels; memory does not grow with the pictures' size."""

    @abc.abstractmethod
    def update(self, sample: Sample, prediction: dict[str, np.ndarray]):
        """Count one picture: its Sample (truth) and its restored prediction. One without the label counts nothing."""

    @abc.abstractmethod
    def result(self) -> dict[str, float]:
        """{name: figure in 0..1}, a class's own figure as "iou/NAME"; NaN where nothing defines it."""

    def charts(self) -> dict[str, object]:
        """{file stem: matplotlib Figure} worth keeping, such as a confusion matrix."""
        return {}
