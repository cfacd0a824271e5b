"""`Augmentation`: the base class of this package's transforms. Read this before writing one."""

import abc
import dataclasses
from collections.abc import Callable

import numpy as np

from visiontasks.arguments import Checked
from visiontasks.data.placing import place, placement_of
from visiontasks.sample import Sample


@dataclasses.dataclass(frozen=True)
class Stage:
    """The canvas and the further images that a transform works with.

    Attributes:
        size: (height, width) of the canvas that the network sees.
        resize: how an image is placed on it, a mode of `visiontasks.geometry.RESIZES`.
        another: returns another Sample of the same data, after the transforms before this one.
    """

    size: tuple[int, int]
    resize: str
    another: Callable[[], Sample]

    def place(self, sample: Sample) -> Sample:
        """The Sample on the canvas; unchanged if it already lies there."""
        return place(sample, placement_of(sample, self.size, self.resize))


class Augmentation(Checked, abc.ABC):
    """A transform of Samples. A file of `data/augment/` holds the class that it is named for; recipes use its name.

    Attributes:
        p: the share of images that it changes.
        epochs: the number of first epochs in which it works; None: all.
        lays_out: whether it takes images of any size at their original resolution.
        joins: how many images' objects the result may have.
        fields: Sample fields that it uses if the source has them, even if no batch has them.
    """

    p: float
    epochs: int | None = None
    lays_out = False
    joins: int = 1
    fields: tuple[str, ...] = ()

    def applies(self, rng: np.random.Generator, epoch: int) -> bool:
        """Whether to transform this image."""
        return (self.epochs is None or epoch < self.epochs) and rng.random() < self.p

    @abc.abstractmethod
    def __call__(self, sample: Sample, rng: np.random.Generator, stage: Stage) -> Sample:
        """The transformed Sample; a function of `rng` and of the Samples alone."""
