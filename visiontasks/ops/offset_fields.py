"""Fields of offsets to people's keypoints: what PersonLab learns, how it refines them, and what they vote for.

Papandreou et al. 2018, PersonLab (https://arxiv.org/abs/1803.08225), section 3. Maps have h rows and w columns of
cells, `stride` pixels apart. The center of the first cell lies at `origin`, `origin` pixels: stride / 2 unless another
is named. It is 0 for networks that align the corners of map and image, such as PoseNet.

Offsets are x, y in pixels, from the center of a cell to a keypoint.
"""

import math

import numpy as np
from keras import ops

from visiontasks.ops import points as point_ops


def centers(size, stride: float, origin: float | None = None) -> np.ndarray:
    """float32 (h, w, 2): x, y of the cells' centers, in pixels."""
    origin = stride / 2 if origin is None else origin
    rows, columns = (np.arange(length, dtype="float32") * stride + origin for length in size)
    return np.stack(np.meshgrid(columns, rows), axis=-1)


def discs(points, size, *, stride: float, radius: float, origin: float | None = None):
    """The cells around each keypoint, and the person whose keypoint it is: section 3.1.

    Args:
        points: float32 (B, N, K, 3), x, y in pixels and visibility; 0 is not labeled. N may be 0.
        size: (h, w).
        radius: R, in pixels.

    Returns:
        (float32 (B, h, w, K), 1 where a labeled keypoint of this kind is at most R away and 0 elsewhere; int32
        (B, h, w, K), the person whose keypoint is the nearest, of equally near ones the first, or -1 outside).
    """
    grid = ops.convert_to_tensor(np.expand_dims(centers(size, stride, origin), 2))
    people, kinds = points.shape[1:3]
    points = _with_nobody(points)
    shape = (ops.shape(points)[0], *size, kinds)

    # one person after the other: distances to all of them at once would be N times as large as the maps
    def nearer(number, nearest):
        distances, owners = nearest
        person = ops.reshape(ops.take(points, number, axis=1), (-1, 1, 1, kinds, 3))
        distance = ops.sum(ops.square(person[..., :2] - grid), axis=-1)
        better = ops.logical_and(person[..., 2] > 0, distance < distances)
        return ops.where(better, distance, distances), ops.where(better, ops.cast(number, "int32"), owners)

    nothing = ops.full(shape, float("inf"), dtype="float32"), ops.full(shape, -1, dtype="int32")
    distances, owners = ops.fori_loop(0, people, nearer, nothing)
    inside = distances <= radius**2
    return ops.cast(inside, "float32"), ops.where(inside, owners, -1)


def segment_owners(masks):
    """The person whom each cell belongs to: bool (B, N, h, w) to int32 (B, h, w), -1 for none and for several."""
    count = ops.sum(ops.cast(masks, "int32"), axis=1)
    numbers = ops.reshape(ops.arange(masks.shape[1], dtype="int32"), (1, -1, 1, 1))
    return ops.where(count == 1, ops.sum(ops.where(masks, numbers, 0), axis=1), -1)


def short_offsets(points, owners, *, stride: float, origin: float | None = None):
    """From each cell in a disc to the keypoint that it is around: float32 (B, h, w, K, 2); 0 outside of `discs`.

    Args:
        points: as for `discs`.
        owners: int32 (B, h, w, K), from `discs`.
    """
    return _offsets(points, owners, np.arange(points.shape[2]), stride, origin)[0]


def mid_offsets(points, owners, edges, *, stride: float, origin: float | None = None):
    """From each cell in the disc of one keypoint of an edge to the same person's other keypoint: section 3.1.

    Args:
        points, owners: as for `short_offsets`.
        edges: E pairs of keypoints.

    Returns:
        (float32 (B, h, w, E, 2, 2), bool (B, h, w, E, 2), where it is known: in the disc, the other keypoint labeled;
        it is 0 elsewhere). The first of the two directions of edge (i, j) leads from i to j, the second from j to i.
    """
    edges = np.asarray(edges, "int32").reshape(-1, 2)
    size = owners.shape[1:3]
    sources = ops.take(owners, edges.ravel(), axis=-1)
    offsets, known = _offsets(points, sources, edges[:, ::-1].ravel(), stride, origin)
    return ops.reshape(offsets, (-1, *size, len(edges), 2, 2)), ops.reshape(known, (-1, *size, len(edges), 2))


def long_offsets(points, segments, *, stride: float, origin: float | None = None):
    """From each cell of a person to each keypoint of that person: section 3.2.

    Args:
        points: as for `discs`.
        segments: int32 (B, h, w), the person whom the cell belongs to; -1 for none, or where several overlap.

    Returns:
        (float32 (B, h, w, K, 2), bool (B, h, w, K), where it is known: in a segment, the keypoint labeled; it is 0
        elsewhere).
    """
    return _offsets(points, ops.expand_dims(segments, -1), np.arange(points.shape[2]), stride, origin)


def _offsets(points, owners, kinds, stride, origin):
    """From cells to keypoints of these kinds (F,) of their owners, int (B, h, w, F or 1), and where they are known."""
    grid = ops.convert_to_tensor(np.expand_dims(centers(owners.shape[1:3], stride, origin), 2))
    people, count = points.shape[1:3]
    owners = ops.cast(owners, "int32")
    images = ops.reshape(ops.arange(ops.shape(owners)[0], dtype="int32") * (people + 1), (-1, 1, 1, 1))
    rows = (images + ops.where(owners < 0, people, owners)) * count + ops.convert_to_tensor(kinds, "int32")
    wanted = ops.take(ops.reshape(_with_nobody(points), (-1, 3)), rows, axis=0)
    known = wanted[..., 2] > 0
    return ops.where(ops.expand_dims(known, -1), wanted[..., :2] - grid, 0.0), known


def _with_nobody(points):
    """A last person is added without a keypoint: the owner of what has none."""
    return ops.pad(ops.cast(points, "float32"), [[0, 0], [0, 1], [0, 0], [0, 0]])


def refined(offsets, by, keypoints=None, *, times: int, stride: float, limit: float | None = None):
    """Offsets that are corrected by what a field says where they lead to: recurrent refinement, section 3.1.

    Each time an offset d of the cell at x becomes d + by(x + d), read by bilinear interpolation, at the border outside
    of the map. Gradients flow through both fields and through the place where one is read.

    Args:
        offsets: float32 (B, h, w, …, 2), mid or long.
        by: float32 (B, h, w, K, 2), short offsets; or long ones for long ones.
        keypoints: int, of the shape …: the keypoint that each offset leads to. Of mid offsets these are
            `edges[:, ::-1]`; by default there is one offset for each keypoint.
        times: how often.
        limit: longer corrections, in pixels, are left out. Where one person covers another's keypoint, long offsets
            lead from there to the keypoint of the wrong one.

    Returns:
        float32, of the shape of the offsets.
    """
    size, count = tuple(by.shape[1:3]), by.shape[3]
    keypoints = np.arange(count) if keypoints is None else np.asarray(keypoints)
    cells = math.prod(size)
    channels = ops.convert_to_tensor(np.tile(keypoints.ravel(), cells), "int32")
    start = ops.convert_to_tensor(np.repeat(centers(size, 1).reshape(cells, 2), keypoints.size, axis=0))
    moved = ops.reshape(ops.cast(offsets, "float32"), (-1, cells * keypoints.size, 2))
    for _ in range(times):
        correction = point_ops.in_channels(by, start + moved / stride, channels)
        if limit is not None:
            short = ops.sum(ops.square(correction), axis=-1, keepdims=True) <= limit**2
            correction = ops.where(short, correction, 0.0)
        moved = moved + correction
    return ops.reshape(moved, (-1, *offsets.shape[1:]))


def hough_scores(heat, short, *, stride: float, radius: float):
    """The votes of all cells for the keypoint that their offset leads to: Hough voting, section 3.1, equation 1.

    A vote is the cell's probability; it is shared among the four cells around the place by bilinear weights, and lost
    outside of the map. The sum is divided by the number of cells in a disc. So a keypoint for which all cells of its
    disc vote has 1, at the center of a cell, or four shares of it.

    Args:
        heat: float32 (B, h, w, K), 0..1.
        short: float32 (B, h, w, K, 2).
        radius: R of the discs, in pixels.

    Returns:
        float32 (B, h, w, K).
    """
    height, width, count = heat.shape[1:]
    rows, columns, kinds = (ops.convert_to_tensor(x, "float32") for x in np.indices((height, width, count)))
    images = ops.reshape(ops.arange(ops.shape(heat)[0], dtype="int32"), (-1, 1, 1, 1))
    axes = []
    for place, axis, length in ((rows, 1, height), (columns, 0, width)):
        # beyond the map by more than a cell no share is left, and an integer has bounds
        position = ops.clip(place + ops.cast(short[..., axis], "float32") / stride, -1.0, float(length))
        lower = ops.floor(position)
        share = position - lower
        lower = ops.cast(lower, "int32")
        axes.append(((lower, 1.0 - share), (lower + 1, share)))
    votes, total = 0.0, ops.shape(heat)[0] * (height * width * count)
    for row, down in axes[0]:
        for column, across in axes[1]:
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            cell = (images * height + ops.clip(row, 0, height - 1)) * width + ops.clip(column, 0, width - 1)
            vote = ops.where(inside, ops.cast(heat, "float32") * down * across, 0.0)
            flat = ops.reshape(vote, (-1,)), ops.reshape(cell * count + ops.cast(kinds, "int32"), (-1,))
            votes = votes + ops.segment_sum(*flat, num_segments=total)
    return ops.reshape(votes, (-1, height, width, count)) * (stride**2 / (math.pi * radius**2))
