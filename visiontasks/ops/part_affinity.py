"""Part affinity fields: which points of an image are a limb of one person. Their targets, and scores read from them.

Cao et al. 2017 (https://arxiv.org/abs/1611.08050), section 2.3, and 2019 (https://arxiv.org/abs/1812.08008), section 3.

`part_affinity_fields` and `limb_scores` are inverse: in the fields of people whose limbs of a kind do not overlap, with
`width` at least √2 · stride, a limb within the image, and at most half as long as the image is high, has a score of 1,
and every pair of points of two people has a lower one.
"""

from keras import ops

from visiontasks.ops.points import at_points

SHORTEST = 1e-3  # pixels: ends that are nearer coincide, and have no direction


def part_affinity_fields(points, limbs, size, stride: int, width: float, valid=None):
    """The direction of each limb in the cells that it covers; where people overlap, the mean of theirs; 0 elsewhere.

    A limb covers a cell whose center is at most `width` beside the line through its ends, and at most `width` beyond
    them. A limb with an end that is not labeled, or with ends that coincide, covers none.

    `limb_scores` is the inverse, see above.

    Args:
        points: float32 (B, N, K, 3), x and y in pixels of the image, and visibility: 0 is not labeled.
        limbs: [(from, to)], L pairs of points.
        size: (h, w) of the fields, in cells.
        stride: pixels a cell.
        width: pixels from the line of a limb to its border; OpenPose takes one cell, the stride.
        valid: bool (B, N), which people are real; by default all.

    Returns:
        float32 (B, h, w, L, 2), x and y of unit vectors.
    """
    points = ops.cast(points, "float32")
    labeled = points[..., 2] > 0
    if valid is not None:
        labeled = ops.logical_and(labeled, ops.expand_dims(valid, -1))
    firsts, seconds = ([limb[end] for limb in limbs] for end in (0, 1))
    starts = ops.take(points[..., :2], firsts, axis=2)
    directions, lengths = _directions(ops.take(points[..., :2], seconds, axis=2) - starts)
    drawn = ops.logical_and(ops.take(labeled, firsts, axis=2), ops.take(labeled, seconds, axis=2))
    drawn = ops.logical_and(drawn, lengths > SHORTEST)
    height, columns = size
    xs = ops.reshape((ops.arange(columns, dtype="float32") + 0.5) * stride, (1, 1, columns, 1))
    ys = ops.reshape((ops.arange(height, dtype="float32") + 0.5) * stride, (1, height, 1, 1))

    # person by person: all at once would be N times the memory of the fields
    def add(person, sums):
        x, y, right, down, length, real = (
            ops.expand_dims(ops.take(a, person, axis=1), (1, 2))
            for a in (starts[..., 0], starts[..., 1], directions[..., 0], directions[..., 1], lengths, drawn)
        )
        along = (xs - x) * right + (ys - y) * down
        beside = ops.abs((xs - x) * down - (ys - y) * right)
        covered = ops.logical_and(ops.logical_and(along >= -width, along <= length + width), beside <= width)
        covered = ops.cast(ops.logical_and(covered, real), "float32")
        return sums[0] + covered * right, sums[1] + covered * down, sums[2] + covered

    nothing = ops.zeros((ops.shape(points)[0], height, columns, len(limbs)), "float32")
    sums = (nothing, nothing, nothing)
    if points.shape[1]:  # JAX traces the loop even if nobody is in it
        sums = ops.fori_loop(0, points.shape[1], add, sums)
    right, down, count = sums
    return ops.stack([right, down], axis=-1) / ops.expand_dims(ops.maximum(count, 1.0), -1)


def limb_scores(fields, peaks, limbs, stride: int, *, samples: int = 10, threshold: float = 0.05, share: float = 0.8):
    """How well the fields agree with a limb between each pair of peaks: 1 at best.

    The mean over points from one peak to the other of field · direction, the field interpolated between the centers of
    cells; and limbs longer than half the image lose: plus min(0.5 · image height / length - 1, 0).

    It is the inverse of `part_affinity_fields`, see above.

    Args:
        fields: (B, h, w, L, 2), x and y.
        peaks: float32 (B, K, P, 3), x and y in pixels of the image, and a score; none is there if that is not above 0.
        limbs: [(from, to)], L pairs of points.
        stride: pixels a cell.
        samples: points on a limb, both peaks among them; 2 or more.
        threshold: a point agrees if field · direction is higher.
        share: of the points; more must agree.

    Returns:
        float32 (B, L, P, P), [.., a, b] from peak a of the first point to peak b of the second. -inf if one of them is
        missing, if they coincide, or if too few points agree.

    Raises:
        ValueError: `samples` is below 2, or the fields are of another number of limbs.
    """
    height, columns, count = fields.shape[1:4]
    if samples < 2:
        raise ValueError(f"samples: expected 2 or more, for both ends of a limb; got {samples}.")
    if count != len(limbs):
        raise ValueError(f"fields: expected {len(limbs)} limbs on axis 3, got {count}.")
    peaks = ops.cast(peaks, "float32")
    starts, ends = (ops.take(peaks, [limb[end] for limb in limbs], axis=1) for end in (0, 1))
    starts, ends = ops.expand_dims(starts, 3), ops.expand_dims(ends, 2)
    steps = ends[..., :2] - starts[..., :2]
    directions, lengths = _directions(steps)
    present = ops.logical_and(ops.logical_and(starts[..., 2] > 0, ends[..., 2] > 0), lengths > SHORTEST)
    starts, shape = starts[..., :2], ops.shape(steps)
    tables = ops.reshape(ops.transpose(fields, (0, 3, 1, 2, 4)), (-1, height, columns, 2))
    rows = ops.arange(ops.shape(tables)[0], dtype="int32")

    # point by point: all at once would be `samples` times the memory
    def add(number, sums):
        positions = (starts + steps * (ops.cast(number, "float32") / (samples - 1))) / stride
        positions = ops.reshape(positions, (-1, positions.shape[2] * positions.shape[3], 2))
        agreement = ops.sum(ops.reshape(at_points(tables, positions, rows), shape) * directions, axis=-1)
        return sums[0] + agreement, sums[1] + ops.cast(agreement > threshold, "float32")

    nothing = ops.zeros_like(lengths)
    total, agreeing = ops.fori_loop(0, samples, add, (nothing, nothing))
    least = int(share * samples + 1e-6)  # 0.7 · 10 may be a little less than 7
    scores = total / samples + ops.minimum(0.5 * height * stride / ops.maximum(lengths, SHORTEST) - 1.0, 0.0)
    return ops.where(ops.logical_and(present, agreeing > least), scores, -float("inf"))


def _directions(steps):
    """Unit vectors (…, 2) and lengths (…) of vectors (…, 2)."""
    lengths = ops.sqrt(ops.sum(ops.square(steps), axis=-1))
    return steps / ops.expand_dims(ops.maximum(lengths, SHORTEST), -1), lengths
