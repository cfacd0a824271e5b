"""The patches of images that excite a channel most, cut out by its exact receptive field."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from visiontasks.errors import UserError
from visiontasks.explain.receptive import Field, ReceptiveFields

MOST = 9  # patches, as in the paper's figures


class Patch(NamedTuple):
    """A part of an image that excites a channel.

    Args:
        value: the channel's at that position.
        image: the number of the image.
        position: (row, column) on the tap.
        field: what the position sees, in the image's pixels; it may exceed the image.
        pixels: uint8, the field as far as it lies in the image.
    """

    value: float
    image: int
    position: tuple[int, int]
    field: Field
    pixels: np.ndarray


def patches(
    backbone: keras.Model, images: Iterable[np.ndarray], tap: str, channels: list[int], count: int = MOST
) -> dict[int, list[Patch]]:
    """For each channel the patches that excite it most, at most one from an image, the strongest first.

    Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901, section 3.1 and figure 2.

    Args:
        backbone: a functional keras.Model from images; that of a VisionModel, or of `vt.backbone`.
        images: uint8 (H, W, 3) each, of one size that the backbone takes.
        tap: the level, such as C3.
        channels: their numbers.
        count: patches per channel.

    Raises:
        UserError: there is no such tap or channel, or its receptive field is the whole image.
    """
    if tap not in backbone.output:
        raise UserError(f"expected one of {', '.join(backbone.output)}; got {tap!r}.", "tap")
    width = backbone.output[tap].shape[-1]
    if wrong := [channel for channel in channels if not 0 <= channel < width]:
        raise UserError(f"{tap} has channels 0 to {width - 1}; got {wrong}.", "channels")
    network = keras.Function(backbone.input, backbone.output[tap])
    best, fields = {channel: [] for channel in channels}, None
    for number, image in enumerate(images):
        fields = fields or ReceptiveFields(backbone, tap, image.shape[:2])
        found = ops.convert_to_numpy(ops.cast(network(ops.convert_to_tensor(image[None])), "float32"))[0]
        for channel, heap in best.items():
            place = np.unravel_index(found[..., channel].argmax(), found.shape[:2])
            place = tuple(int(index) for index in place)
            value = float(found[(*place, channel)])
            if len(heap) < count or value > heap[0][0]:
                field = fields.field(*place)
                patch = Patch(value, number, place, field, field.cut(image).copy())
                # of equal values the first image stays
                (heapq.heappush if len(heap) < count else heapq.heapreplace)(heap, (value, -number, patch))
    return {channel: [patch for *_, patch in sorted(heap, reverse=True)] for channel, heap in best.items()}
