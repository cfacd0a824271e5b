"""The patches of images that excite a channel most, cut out by its exact receptive field."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from visiontasks.explain.channels import check_channels
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
        reconstruction: float32, of the same pixels: the value brought back to them by a Deconvnet; None: not asked for.
    """

    value: float
    image: int
    position: tuple[int, int]
    field: Field
    pixels: np.ndarray
    reconstruction: np.ndarray | None = None


def patches(
    backbone: keras.Model,
    images: Iterable[np.ndarray],
    tap: str,
    channels: list[int],
    count: int = MOST,
    deconvnet=None,
) -> dict[int, list[Patch]]:
    """For each channel the patches that excite it most, at most one from an image, the strongest first.

    Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901, section 3.1 and figure 2.

    Args:
        backbone: a functional keras.Model from images; that of a VisionModel, or of `vt.backbone`.
        images: uint8 (H, W, 3) each, of one size that the backbone takes.
        tap: the level, such as C3.
        channels: their numbers.
        count: patches per channel.
        deconvnet: a Deconvnet of this backbone and tap, for the patches' reconstructions.

    Raises:
        UserError: there is no such tap or channel, or its receptive field is the whole image.
    """
    check_channels(backbone, tap, channels)
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
                # of equal values the first image stays
                (heapq.heappush if len(heap) < count else heapq.heapreplace)(heap, (value, -number, place, image))
    return {
        channel: [_patch(*one, channel, fields, deconvnet) for one in sorted(heap, reverse=True)]
        for channel, heap in best.items()
    }


def _patch(value, negative, place, image, channel, fields, deconvnet):
    field = fields.field(*place)
    if deconvnet is None:
        return Patch(value, -negative, place, field, field.cut(image).copy())
    back = deconvnet(image[None], channel, [place])[0]
    return Patch(value, -negative, place, field, field.cut(image).copy(), field.cut(back).copy())
