"""`Augmentation`: a transform of our own, beside albumentations'. Read this before writing one."""

import abc
import dataclasses
from collections.abc import Callable

import numpy as np

from visiontasks.arguments import Checked
from visiontasks.data.placing import place
from visiontasks.geometry import Placement
from visiontasks.sample import Sample


@dataclasses.dataclass(frozen=True)
class Stage:
    """Where a transform works.

    Attributes:
        size: (height, width) of the canvas that the network sees.
        resize: how a picture is placed on it, a mode of `visiontasks.geometry.Placement`.
        another: gives a further Sample of the same data, as it comes out of the transforms before this one.
    """

    size: tuple[int, int]
    resize: str
    another: Callable[[], Sample]

    def place(self, sample: Sample) -> Sample:
        """The Sample on the canvas; one that lies there already as it is."""
        return place(sample, Placement(sample.image.shape[:2], self.size, self.resize))


class Augmentation(Checked, abc.ABC):
    """A transform of Samples. A file of `data/augment/` has the class named as the file; recipes use the class's name.

    Attributes:
        p: the share of pictures that it changes.
        epochs: in how many first epochs it works; None: in all.
        lays_out: whether it takes pictures of any size at their own resolution.
        fields: Sample fields that it uses where a source has them, though no batch has them.
    """

    p: float
    epochs: int | None = None
    lays_out = False
    fields: tuple[str, ...] = ()

    def applies(self, rng: np.random.Generator, epoch: int) -> bool:
        """Whether this picture's turn has come."""
        return (self.epochs is None or epoch < self.epochs) and rng.random() < self.p

    @abc.abstractmethod
    def __call__(self, sample: Sample, rng: np.random.Generator, stage: Stage) -> Sample:
        """The transformed Sample; a function of `rng` and of the Samples alone."""
