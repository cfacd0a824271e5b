"""`Metric`: a score accumulated image by image on the host."""

import abc

import numpy as np

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
