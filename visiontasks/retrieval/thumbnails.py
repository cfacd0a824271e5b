"""Small square versions of image files."""

from collections.abc import Iterable, Sequence

import numpy as np

from visiontasks.data.images import bytes_of, decode_small
from visiontasks.data.scan import scan
from visiontasks.errors import BadImage
from visiontasks.geometry import Placement


def thumbnails(
    paths: Sequence[str], numbers: Iterable[int], side: int, resize: str = "crop", bits: int | None = None
) -> dict[int, np.ndarray]:
    """{number: uint8 (side, side, 3)} of some of the files; one that cannot be read is left out.

    Args:
        paths: of image files.
        numbers: those of `paths` that are read.
        side: width and height in pixels.
        resize: a mode of `visiontasks.geometry.Placement`.
        bits: of images of 16 bits, see `read_image`.
    """

    def small(number):
        try:
            image, _ = decode_small(bytes_of(str(paths[number])), paths[number], side, bits=bits)
        except BadImage:
            return None
        return Placement(image.shape[:2], (side, side), resize).place_image(image)

    numbers = list(numbers)
    images = zip(numbers, scan(small, numbers, "thumbnails"), strict=True)
    return {number: image for number, image in images if image is not None}


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` of the numbers 0..count-1, evenly spread, rising."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
