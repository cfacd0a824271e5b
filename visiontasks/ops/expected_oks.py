"""How near a keypoint is likely to be, from where the cells around it place it."""

import numpy as np
from keras import ops

from visiontasks.ops import points as point_ops
from visiontasks.ops.offset_fields import centers


def expected_oks(heat, short, keypoints, sigmas, *, stride: float, radius: float):
    """The probability of each keypoint, times the object keypoint similarity (OKS) that it can expect.

    Papandreou et al. 2018, https://arxiv.org/abs/1803.08225, section 3.1, scoring by Expected-OKS. The places to which
    the short offsets of the cells lead, weighted by the heat, say where the keypoint may be; counted are those within
    the radius. The paper reads them from the map of Hough scores; here they are not rounded to cells. The scale of OKS
    is the area of the box around the person's keypoints, which counts as at least a pixel wide and high.

    Args:
        heat: float32 (B, h, w, K), 0..1.
        short: float32 (B, h, w, K, 2), in pixels.
        keypoints: float32 (B, N, K, 2 or more), x, y in pixels.
        sigmas: K numbers, of OKS.
        stride: pixels from one cell to the next; the center of the first lies at stride / 2.
        radius: R of the discs, in pixels.

    Returns:
        float32 (B, N, K), 0..1; 0 where no cell leads.
    """
    size, (people, kinds) = tuple(heat.shape[1:3]), keypoints.shape[1:3]
    places = ops.convert_to_tensor(np.expand_dims(centers(size, stride), 2)) + ops.cast(short, "float32")
    heat, points = ops.cast(heat, "float32"), ops.cast(keypoints[..., :2], "float32")
    extents = ops.maximum(ops.max(points, axis=2) - ops.min(points, axis=2), 1.0)
    spread = 8 * ops.expand_dims(ops.prod(extents, axis=-1), -1) * np.square(np.float32(sigmas))

    # one person after the other: all at once would be N times as large as the maps
    def likely(number, found):
        point = ops.reshape(ops.take(points, number, axis=1), (-1, 1, 1, kinds, 2))
        distance = ops.sum(ops.square(places - point), axis=-1)
        votes = ops.where(distance <= radius**2, heat, 0.0)
        similar = ops.exp(-distance / ops.reshape(ops.take(spread, number, axis=1), (-1, 1, 1, kinds)))
        total = ops.sum(votes, axis=(1, 2))
        score = ops.sum(votes * similar, axis=(1, 2)) / ops.where(total > 0, total, 1.0)
        mine = ops.reshape(ops.arange(people) == number, (1, -1, 1))
        return ops.where(mine, ops.expand_dims(score, 1), found)

    similarity = ops.fori_loop(0, people, likely, ops.zeros_like(points[..., 0]))
    positions = ops.reshape(points, (-1, people * kinds, 2)) / stride
    channels = ops.convert_to_tensor(np.tile(np.arange(kinds), people), "int32")
    there = point_ops.in_channels(ops.expand_dims(heat, -1), positions, channels)
    return similarity * ops.reshape(there, (-1, people, kinds))
