"""People from fields of offsets: each best keypoint walks along the tree of edges to the others of its person.

Papandreou et al. 2018, PersonLab (https://arxiv.org/abs/1803.08225), sections 3.1 and 3.2. Maps, offsets, stride and
origin are those of visiontasks/ops/offset_fields.py.
"""

import numpy as np
from keras import ops

from visiontasks.ops import nms
from visiontasks.ops.offset_fields import centers


def walks(edges, keypoints: int) -> np.ndarray:
    """The steps from each keypoint to all others: int32 (K, K - 1, 4), (source, target, edge, direction) each.

    Direction 0 leads from the first keypoint of an edge to the second, 1 back. A source is the first keypoint or the
    target of an earlier step. Edges beyond those of a tree are left out where another one is shorter, or first.

    Raises:
        ValueError: the edges name a keypoint that does not exist, or do not connect all keypoints.
    """
    edges = np.asarray(edges, int).reshape(-1, 2)
    if edges.size and not 0 <= edges.min() <= edges.max() < keypoints:
        raise ValueError(f"edges: expected keypoints 0..{keypoints - 1}, got {edges.min()}..{edges.max()}")
    found = []
    for root in range(keypoints):
        reached, steps = [root], []
        for source in reached:  # grows: nearest first
            for edge, ends in enumerate(edges.tolist()):
                for direction, (start, target) in enumerate((ends, ends[::-1])):
                    if start == source and target not in reached:
                        reached.append(target)
                        steps.append((source, target, edge, direction))
        if len(reached) < keypoints:
            missing = sorted(set(range(keypoints)) - set(reached))
            raise ValueError(
                f"edges: expected edges that connect all {keypoints} keypoints, but none leads from {root} to "
                f"{missing}; add an edge between the two groups"
            )
        found.append(steps)
    return np.array(found, "int32").reshape(keypoints, keypoints - 1, 4)


def decode_people(
    heat,
    short,
    mid,
    edges,
    *,
    stride: float,
    count: int,
    seeds: int,
    threshold: float,
    radius: float,
    refinements: int = 2,
    centered: bool = True,
    origin: float | None = None,
) -> dict:
    """People, from the best keypoints on: fast greedy decoding, section 3.1.

    Seeds are the local maxima of the scores, of all keypoints, best first; a seed's point is its cell plus the cell's
    short offset. From there each step adds a mid offset, and the short offsets around the new point correct it. A seed
    is dropped if it lies within the radius of the same keypoint of a person found before. All seeds walk, at once.

    A keypoint's score is the heat where the last short offset was read. A person's score is the mean of the keypoints'
    scores, in which those count 0 that lie within the radius of the same keypoint of a person found before: soft
    keypoint suppression.

    Args:
        heat: float32 (B, h, w, K), 0..1: probabilities, or `hough_scores`.
        short: float32 (B, h, w, K, 2), in pixels.
        mid: float32 (B, h, w, E, 2, 2), in pixels; for each edge (i, j) from i to j and from j to i.
        edges: E pairs of keypoints that connect all K, mostly a tree.
        count: people per image in the output.
        seeds: the number of local maxima that are tried, the best of an image.
        threshold: the least score of a seed.
        radius: in pixels.
        refinements: how often short offsets correct a point after each step: 2 in the paper.
        centered: a mid offset leads from the center of the cell where it is read. Otherwise it is added to the keypoint
            itself, as the decoder of PoseNet's authors does: with `origin` 0 and one refinement this is theirs.
        origin: the center of the first cell, see visiontasks/ops/offset_fields.py.

    Returns:
        {"keypoints": float32 (B, count, K, 3) x, y, score; "scores": float32 (B, count); "valid": bool (B, count)}, in
        the order in which people are found: that of their seeds' scores. Zeros if `valid` is false. Points may lie
        outside of the image.

    Raises:
        ValueError: see `walks`.
    """
    (height, width, kinds), steps = heat.shape[1:], walks(edges, heat.shape[-1])
    origin = stride / 2 if origin is None else origin
    last = np.array([width - 1, height - 1], "float32")
    heat = ops.cast(heat, "float32")
    mid = ops.reshape(mid, (ops.shape(mid)[0], height, width, 2 * mid.shape[3], 2))
    images = ops.reshape(ops.arange(ops.shape(heat)[0], dtype="int32") * (height * width), (-1, 1))

    # places are in cells, 0 is the center of the first. Values are those of the nearest cell: between the discs of two
    # people an interpolated offset leads to neither
    def nearest(places):
        return ops.clip(ops.floor(places + 0.5), 0.0, last)

    def read(fields, cells, channels):
        column, row = ops.unstack(ops.cast(cells, "int32"), 2, axis=-1)
        numbers = (images + row * width + column) * fields.shape[3] + channels
        return ops.cast(ops.take(ops.reshape(fields, (-1, *fields.shape[4:])), numbers, axis=0), "float32")

    def corrected(places, kind):
        cells = nearest(places)
        for _ in range(refinements):
            cells = nearest(places)
            places = cells + read(short, cells, kind) / stride
        return places, read(heat, cells, kind)

    values, rows, columns, roots = _seeds(heat, seeds, threshold)
    cells = ops.stack([ops.cast(x, "float32") for x in (columns, rows)], axis=-1)
    own = cells + read(short, cells, roots) / stride
    routes = ops.take(ops.convert_to_tensor(steps), roots, axis=0)

    def step(number, people):
        places, scores = people
        source, target, edge, direction = ops.unstack(ops.take(routes, number, axis=2), 4, axis=-1)
        start = ops.sum(ops.where(_one(source, kinds), places, 0.0), axis=2)
        cells = nearest(start)
        moved = (cells if centered else start) + read(mid, cells, 2 * edge + direction) / stride
        place, score = corrected(moved, target)
        reached = _one(target, kinds)
        places = ops.where(reached, ops.expand_dims(place, 2), places)
        return places, ops.where(reached[..., 0], ops.expand_dims(score, 2), scores)

    begun = _one(roots, kinds)
    places = ops.where(begun, ops.expand_dims(own, 2), 0.0)
    scores = ops.where(begun[..., 0], ops.expand_dims(values, 2), 0.0)
    if kinds > 1:  # JAX traces a loop even of no step, and no step can be read then
        places, scores = ops.fori_loop(0, kinds - 1, step, (places, scores))
    people = ops.concatenate([places * stride + origin, ops.expand_dims(scores, -1)], axis=-1)
    return _distinct(people, own * stride + origin, roots, values >= threshold, count, radius)


def _one(keypoints, kinds):
    """bool (B, S, K, 1): which of K keypoints these int32 (B, S) are."""
    return ops.expand_dims(ops.equal(ops.expand_dims(keypoints, -1), np.arange(kinds, dtype="int32")), -1)


def _seeds(heat, count, threshold):
    """(scores, rows, columns, keypoints) of the best local maxima, (B, S) each; scores of -inf for those too many."""
    width, kinds = heat.shape[2:]
    highest = ops.max_pool(heat, 3, strides=1, padding="same", data_format="channels_last")
    seeds = ops.where(ops.logical_and(heat >= highest, heat >= threshold), heat, -float("inf"))
    values, numbers = nms.best(ops.reshape(seeds, (-1, heat.shape[1] * width * kinds)), count)
    cells = numbers // kinds
    return values, cells // width, cells % width, numbers % kinds


def _distinct(people, seeds, roots, valid, count, radius):
    """The first `count` people whose seed is not a keypoint of one before, in the form of `decode_people`."""
    total, kinds = people.shape[1:3]
    ranks = np.arange(max(total, count))
    # [i, j]: the keypoint of person i that is seed j's
    same = ops.take_along_axis(people[..., :2], ops.reshape(roots, (-1, 1, total, 1)), axis=2)
    near = _distances(same, ops.expand_dims(seeds, 1)) <= radius
    kept = nms.greedy(ops.logical_and(near, ranks[:total, None] < ranks[:total]), valid)

    places, chosen = nms.best(ops.where(kept, -ranks[:total].astype("float32"), -float("inf")), count)
    valid = places > -float("inf")
    people = ops.reshape(nms.gather(ops.reshape(people, (-1, total, kinds * 3)), chosen), (-1, count, kinds, 3))
    people = ops.where(ops.reshape(valid, (-1, count, 1, 1)), people, 0.0)

    return {"keypoints": people, "scores": person_scores(people, valid, radius), "valid": valid}


def person_scores(people, valid, radius: float):
    """The mean of a person's scores, without keypoints where an earlier person has the same: float32 (B, N).

    Soft keypoint suppression, section 3.1.

    Args:
        people: float32 (B, N, K, 3), x, y, score.
        valid: bool (B, N); the others have 0, and stand after the valid ones.
        radius: in pixels.
    """
    count = people.shape[1]
    near = _distances(ops.expand_dims(people, 2)[..., :2], ops.expand_dims(people, 1)[..., :2]) <= radius
    earlier = np.expand_dims(np.arange(count)[:, None] < np.arange(count), -1)
    covered = ops.any(ops.logical_and(near, earlier), axis=1)
    return ops.where(valid, ops.mean(ops.where(covered, 0.0, people[..., 2]), axis=-1), 0.0)


def _distances(points, others):
    return ops.sqrt(ops.sum(ops.square(points - others), axis=-1))


def people_of_cells(
    segmentation,
    long,
    keypoints,
    valid,
    *,
    stride: float,
    threshold: float = 0.5,
    limit: float = 0.25,
    origin: float | None = None,
):
    """The person whom each cell belongs to: instances from long offsets, section 3.2.

    The distance of a cell x from a person with keypoints y and their scores p is Σ p |x + long(x) - y| / (λ Σ p), λ the
    square root of the area of the keypoints' box, which counts as at least a pixel wide and high.

    Args:
        segmentation: float32 (B, h, w), the probability of a person.
        long: float32 (B, h, w, K, 2), in pixels.
        keypoints, valid: (B, N, K, 3) and (B, N), from `decode_people`.
        threshold: the least probability of a cell that belongs to a person.
        limit: the largest distance.
        origin: the center of the first cell, see visiontasks/ops/offset_fields.py.

    Returns:
        int32 (B, h, w): the nearest person; -1 for none.
    """
    size, (people, kinds) = segmentation.shape[1:], keypoints.shape[1:3]
    grid = np.expand_dims(centers(size, stride, origin), 2)
    targets = ops.cast(long, "float32") + ops.convert_to_tensor(grid)
    extents = ops.maximum(ops.max(keypoints[..., :2], axis=2) - ops.min(keypoints[..., :2], axis=2), 1.0)
    scores = keypoints[..., 2]
    total = ops.sum(scores, axis=-1, keepdims=True) * ops.sqrt(ops.prod(extents, axis=-1, keepdims=True))
    usable = ops.logical_and(ops.expand_dims(valid, -1), total > 0)
    weights = ops.where(usable, scores / ops.where(usable, total, 1.0), float("inf"))

    # one person after the other, as in `discs`
    def nearer(number, nearest):
        distances, owners = nearest
        points = ops.reshape(ops.take(keypoints, number, axis=1)[..., :2], (-1, 1, 1, kinds, 2))
        weight = ops.reshape(ops.take(weights, number, axis=1), (-1, 1, 1, kinds))
        distance = ops.sum(weight * _distances(targets, points), axis=-1)
        better = distance < distances
        return ops.where(better, distance, distances), ops.where(better, ops.cast(number, "int32"), owners)

    shape = ops.shape(segmentation)
    nothing = ops.full(shape, float("inf"), dtype="float32"), ops.full(shape, -1, dtype="int32")
    distances, owners = ops.fori_loop(0, people, nearer, nothing)
    return ops.where(ops.logical_and(segmentation >= threshold, distances <= limit), owners, -1)
