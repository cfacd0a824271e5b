"""Which samples make up which batch, and its image size: a function of the seed and the batch's number alone."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_SIZES = 1  # separates the random stream of sizes from that of samples


class Draw(NamedTuple):
    """The content of a batch: the indices of its samples, its epoch, and the (height, width) of its images."""

    indices: np.ndarray
    epoch: int
    size: tuple[int, int]


class Order:
    """The Draw of each batch, without end.

    With several sizes, each size occurs once in as many batches, in random order.

    Args:
        count: number of samples.
        batch: images per batch.
        steps: batches per epoch.
        seed: of the order; None keeps the samples' order.
        sizes: (height, width) of the images, one or several.
        turns: (i, n): of the batches i, i + n, i + 2n, … alone; if an epoch's last turn has none, its last batch.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        steps: int,
        seed: int | None,
        sizes: Sequence[tuple[int, int]],
        turns: tuple[int, int] = (0, 1),
    ):
        self._count, self._batch, self._steps, self._seed, self._sizes = count, batch, steps, seed, sizes
        self._first, self._every = turns
        self._epoch = None, None  # the last epoch and its order; replaced as one value, because threads share it

    def __call__(self, number: int) -> Draw:
        epoch, turn = divmod(int(number), math.ceil(self._steps / self._every))
        step = min(turn * self._every + self._first, self._steps - 1)
        last, order = self._epoch
        if epoch != last:
            order = np.arange(self._count)
            if self._seed is not None:
                order = np.random.default_rng([self._seed, epoch]).permutation(order)
            self._epoch = epoch, order
        return Draw(order[step * self._batch : (step + 1) * self._batch], epoch, self._size(epoch, step))

    def _size(self, epoch, step):
        if len(self._sizes) == 1:
            return self._sizes[0]
        turn, position = divmod(step, len(self._sizes))
        chance = np.random.default_rng([self._seed, epoch, _SIZES, turn])
        return self._sizes[chance.permutation(len(self._sizes))[position]]
