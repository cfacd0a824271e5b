"""`Tap`: what a backbone offers under one name, as data. Heads choose their taps by it and are built for them."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Tap:
    """An output of a backbone, or its input under the name "image".

    Attributes:
        name: such as C3, top, or image.
        stride: image pixels from one cell to the next, a power of two; None if the tap is not a level.
        channels: numbers per cell.
        size: (height, width) in cells; None if it depends on the image.
    """

    name: str
    stride: int | None
    channels: int
    size: tuple[int | None, int | None]

    @property
    def shape(self) -> tuple:
        """(batch, height, width, channels), as Keras's layers take it."""
        return (None, *self.size, self.channels)


def levels_among(taps: dict[str, Tap], who: str, least: int = 1, strides=(1, math.inf)) -> list[Tap]:
    """The levels among taps, one a stride, finest first; the image is none.

    Of several levels of one stride, as in a dilated network, the deepest is taken.

    Args:
        taps: {name: Tap}.
        who: the head's name, for the error.
        least: the number of levels that it needs.
        strides: the smallest and the largest stride that it can use.

    Raises:
        ValueError: there are fewer than `least`.
    """
    low, high = strides
    found = [tap for name, tap in taps.items() if name != "image" and tap.stride and low <= tap.stride <= high]
    levels = {tap.stride: tap for tap in sorted(found, key=lambda tap: tap.name)}
    if len(levels) < least:
        raise ValueError(
            f"{who}: needs {least} or more levels of a backbone, of stride {low} or more (C1 has stride 2, C2 stride "
            f"4, and so on); got {list(taps)}."
        )
    return sorted(levels.values(), key=lambda tap: tap.stride)
