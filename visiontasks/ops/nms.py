"""Non-maximum suppression with fixed shapes, in the graph.

Every function takes any leading axes (a batch, the classes of a batch) and suppresses within each of them alone: boxes
of different classes never meet, and no offset has to keep them apart.
"""

from keras import ops

from visiontasks.ops import boxes as box_ops


def suppress(boxes, scores, threshold: float, valid=None, groups=None):
    """Which boxes greedy suppression keeps: the best one, then the best that overlaps none of those kept, and so on.

    The greedy answer is the one fixed point of "kept, unless a better one that is kept overlaps it": asking that again
    and again for all boxes at once reaches it after as many rounds as the longest chain of boxes that decide on each
    other is long, mostly under ten (Cluster-NMS: Zheng et al. 2021, https://arxiv.org/abs/2005.03572, proposition 1).

    Args:
        boxes: (…, K, 4), best first.
        scores: (…, K), falling; of equal ones the first is the better.
        threshold: an overlap (IoU) above it suppresses.
        valid: bool (…, K); the others are not kept and suppress nothing. All by default.
        groups: int (…, K), the class of each box, say: boxes suppress within their group alone. By default all do.

    Returns:
        bool (…, K).
    """
    overlapping = _overlapping(boxes, boxes, threshold, groups, groups)
    ranks = ops.arange(boxes.shape[-2])
    better = ops.expand_dims(ranks, -1) < ranks  # [i, j]: i comes before j
    suppresses = ops.cast(ops.logical_and(overlapping, better), "float32")
    valid = ops.ones_like(scores, dtype="bool") if valid is None else valid

    def once(kept):
        # float32 sums of up to K ones: a product runs faster than any() over the pairs
        hits = ops.squeeze(ops.matmul(ops.expand_dims(ops.cast(kept, "float32"), -2), suppresses), -2)
        return ops.logical_and(valid, hits < 0.5)

    def changed(kept, before):
        return ops.any(kept != before)

    def step(kept, before):
        return once(kept), kept

    kept, _ = ops.while_loop(changed, step, (once(valid), valid), maximum_iterations=boxes.shape[-2])
    return kept


def _overlapping(boxes, others, threshold, groups, other_groups):
    """bool (…, N, M): which pairs overlap by more than the threshold, and are of one group if there are groups."""
    found = box_ops.iou(boxes, others) > threshold
    if groups is None:
        return found
    return ops.logical_and(found, ops.expand_dims(groups, -1) == ops.expand_dims(other_groups, -2))


def best(scores, count: int):
    """The `count` highest scores along the last axis and their places: ((…, count), int32 (…, count)), best first.

    Where there are fewer, what is left is filled with -inf and place 0.
    """
    present = min(count, scores.shape[-1])
    values, places = ops.top_k(scores, present, sorted=True)
    places = ops.cast(places, "int32")
    if present < count:
        widths = [(0, 0)] * (len(scores.shape) - 1) + [(0, count - present)]
        values = ops.pad(values, widths, constant_values=-float("inf"))
        places = ops.pad(places, widths)
    return values, places


def best_pairs(scores, count: int):
    """The `count` best pairs of an anchor and a class, or all if there are fewer.

    Args:
        scores: (B, A, C).
        count: K.

    Returns:
        (scores (B, K), int32 anchors (B, K), int32 classes (B, K)), best first.
    """
    columns = scores.shape[-1]
    total = scores.shape[1] * columns
    values, pairs = best(ops.reshape(scores, (-1, total)), min(count, total))
    return values, pairs // columns, pairs % columns


def detections(boxes, scores, *, score_threshold: float, iou_threshold: float, candidates: int, count: int) -> dict:
    """The final boxes of a detector: the best of each class, suppressed within it, then the best over all classes.

    Args:
        boxes: (B, A, 4) in pixels, one for all classes of an anchor.
        scores: (B, A, C), 0..1.
        score_threshold: only scores above it count.
        iou_threshold: as `suppress` takes it.
        candidates: boxes a class that are considered.
        count: boxes a picture that come out.

    Returns:
        {"boxes": float32 (B, count, 4), "scores": float32 (B, count), "classes": int32 (B, count), "valid": bool
        (B, count)}, best first; where `valid` is false there are zeros.
    """
    boxes, scores = ops.cast(boxes, "float32"), ops.cast(scores, "float32")
    # one picture after the other: all pairs of all classes of a whole batch would be gigabytes
    candidate_boxes, candidate_scores, classes = ops.map(
        lambda one: _by_class(*one, score_threshold, iou_threshold, candidates), (boxes, ops.swapaxes(scores, 1, 2))
    )
    values, places = best(candidate_scores, count)
    valid = values > score_threshold
    return {
        "boxes": _where(valid, gather(candidate_boxes, places)),
        "scores": ops.where(valid, values, 0.0),
        "classes": ops.where(valid, ops.take_along_axis(classes, places, axis=-1), 0),
        "valid": valid,
    }


def grouped(
    boxes,
    scores,
    groups,
    *,
    score_threshold: float,
    iou_threshold: float,
    count: int,
    agnostic: bool = False,
    block: int = 512,
) -> dict:
    """The best boxes of many candidates, each suppressed by those of its group (its class, or its pyramid level) alone.

    Greedy suppression as `suppress` does it, block by block from the best on, each against what was kept before and
    then in itself: so memory is block × (count + block) however many candidates there are, and it ends where `count`
    boxes are found or the candidates have no more score. One picture after the other.

    Args:
        boxes: (B, K, 4) in pixels.
        scores: (B, K); those that must not count at -inf.
        groups: int (B, K).
        score_threshold: only scores above it count.
        iou_threshold: as `suppress` takes it.
        count: boxes a picture that come out.
        agnostic: whether a box suppresses those of other groups too.
        block: candidates that are decided on at once.

    Returns:
        As `detections`; "classes" are the groups.
    """
    total = scores.shape[1]
    block = min(block, total)
    blocks = -(-total // block)

    def one_picture(picture):
        own_boxes, own_scores, own_groups = picture
        values, places = best(own_scores, blocks * block)
        candidates = [ops.take(own_boxes, places, axis=0), values, ops.take(own_groups, places, axis=0)]
        candidates = [ops.reshape(x, (blocks, block, *x.shape[1:])) for x in candidates]
        nothing = [ops.zeros((count, 4)), ops.full((count,), -float("inf")), ops.zeros((count,), "int32")]

        def more(i, _boxes, kept_scores, _groups):
            left = ops.logical_and(i < blocks, kept_scores[-1] == -float("inf"))
            return ops.logical_and(
                left, ops.take(candidates[1], ops.minimum(i, blocks - 1), axis=0)[0] > score_threshold
            )

        def step(i, *kept):
            new = [ops.take(x, i, axis=0) for x in candidates]
            own, others = (None, None) if agnostic else (new[2], kept[2])
            hits = _overlapping(new[0], kept[0], iou_threshold, own, others)
            hits = ops.logical_and(hits, ops.expand_dims(kept[1] > -float("inf"), 0))
            valid = ops.logical_and(new[1] > score_threshold, ops.logical_not(ops.any(hits, axis=-1)))
            valid = suppress(new[0], new[1], iou_threshold, valid, own)
            new[1] = ops.where(valid, new[1], -float("inf"))
            both = [ops.concatenate([a, b], axis=0) for a, b in zip(kept, new, strict=True)]
            # those kept come first: of equal scores the earlier is the better
            values, chosen = best(both[1], count)
            return i + 1, ops.take(both[0], chosen, axis=0), values, ops.take(both[2], chosen, axis=0)

        _, *kept = ops.while_loop(more, step, (ops.convert_to_tensor(0, "int32"), *nothing), maximum_iterations=blocks)
        return tuple(kept)

    picture = (ops.cast(boxes, "float32"), ops.cast(scores, "float32"), ops.cast(groups, "int32"))
    found, values, classes = ops.map(one_picture, picture)
    valid = values > -float("inf")
    return {
        "boxes": _where(valid, found),
        "scores": ops.where(valid, values, 0.0),
        "classes": ops.where(valid, classes, 0),
        "valid": valid,
    }


def _by_class(boxes, scores, score_threshold, iou_threshold, candidates):
    """One picture: boxes (A, 4), scores (C, A) to (C * K, 4), (C * K,) with -inf for what is suppressed, (C * K,)."""
    values, places = best(scores, min(candidates, boxes.shape[0]))
    chosen = ops.take(boxes, places, axis=0)
    kept = suppress(chosen, values, iou_threshold, values > score_threshold)
    number, each = values.shape
    classes = ops.repeat(ops.arange(number, dtype="int32"), each)
    values = ops.where(kept, values, -float("inf"))
    return ops.reshape(chosen, (-1, 4)), ops.reshape(values, (-1,)), classes


def gather(values, places):
    """Rows of each picture's own: (B, N, D) at int (B, K) to (B, K, D)."""
    return ops.take_along_axis(values, ops.expand_dims(places, -1), axis=1)


def _where(valid, boxes):
    return ops.where(ops.expand_dims(valid, -1), boxes, 0.0)


def soften(boxes, scores, threshold: float = 0.3, sigma: float | None = 0.5):
    """Scores lowered by overlaps with better boxes, instead of boxes left out (Soft-NMS).

    Bodla et al. 2017 (https://arxiv.org/abs/1704.04503), equations 2 and 3: the best box left lowers those that it
    overlaps, again and again. One round a box, one after the other; `suppress` takes a few for all.

    Args:
        boxes: (…, K, 4).
        scores: (…, K).
        threshold: with sigma None, the overlap from which a score is multiplied by 1 - IoU.
        sigma: a score is multiplied by exp(-IoU² / sigma).

    Returns:
        float32 (…, K), the scores in the boxes' own order.
    """
    overlaps, scores = box_ops.iou(boxes, boxes), ops.cast(scores, "float32")
    linear = ops.where(overlaps >= threshold, 1 - overlaps, 1.0)
    factors = linear if sigma is None else ops.exp(-(overlaps**2) / sigma)
    count = boxes.shape[-2]

    def step(_, state):
        values, left = state
        best_one = ops.argmax(ops.where(left, values, -float("inf")), axis=-1)
        chosen = ops.one_hot(best_one, count, dtype="float32")
        left = ops.logical_and(left, chosen < 0.5)
        lowered = ops.squeeze(ops.matmul(ops.expand_dims(chosen, -2), factors), -2)
        return ops.where(left, values * lowered, values), left

    values, _ = ops.fori_loop(0, count, step, (scores, ops.ones_like(scores, dtype="bool")))
    return values
