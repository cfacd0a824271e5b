"""Non-maximum suppression with fixed shapes, in the graph.

All functions accept any leading axes (a batch, the classes of a batch) and suppress within each of them separately.
Boxes of different classes are never compared, so no coordinate offset is needed to separate them.
"""

from keras import ops

from visiontasks.ops import boxes as box_ops


def suppress(boxes, scores, threshold: float, valid=None, groups=None):
    """Which boxes greedy suppression keeps: the best box, then the best box that overlaps no kept one, and so on.

    Args:
        boxes: (…, K, 4), best first.
        scores: (…, K), decreasing; of equal scores the first is the better.
        threshold: a higher overlap (IoU) suppresses.
        valid: bool (…, K); invalid boxes are not kept and suppress nothing. By default all are valid.
        groups: int (…, K), such as classes: boxes suppress only boxes of their group. By default all form one group.

    Returns:
        bool (…, K).
    """
    overlapping = _overlapping(boxes, boxes, threshold, groups, groups)
    ranks = ops.arange(boxes.shape[-2])
    better = ops.expand_dims(ranks, -1) < ranks  # [i, j]: i comes before j
    valid = ops.ones_like(scores, dtype="bool") if valid is None else valid
    return greedy(ops.logical_and(overlapping, better), valid)


def greedy(suppresses, valid):
    """What greedy suppression keeps: the best, then the best that no kept one suppresses, and so on.

    The greedy result is the only fixed point of "keep one unless a better kept one suppresses it". Repeating that rule
    for all at once reaches it. The number of rounds is the length of the longest chain of those that decide on each
    other, mostly below ten (Cluster-NMS: Zheng et al. 2021, https://arxiv.org/abs/2005.03572, proposition 1).

    Args:
        suppresses: bool (…, K, K): [i, j] says that i, if it is kept, suppresses j. It must be false unless i < j.
        valid: bool (…, K); what is not valid is not kept and suppresses nothing.

    Returns:
        bool (…, K).
    """
    suppresses = ops.cast(suppresses, "float32")

    def once(kept):
        # float32 sums of up to K ones: a product runs faster than any() over the pairs
        hits = ops.squeeze(ops.matmul(ops.expand_dims(ops.cast(kept, "float32"), -2), suppresses), -2)
        return ops.logical_and(valid, hits < 0.5)

    def changed(kept, before):
        return ops.any(kept != before)

    def step(kept, before):
        return once(kept), kept

    kept, _ = ops.while_loop(changed, step, (once(valid), valid), maximum_iterations=suppresses.shape[-1])
    return kept


def _overlapping(boxes, others, threshold, groups, other_groups):
    """bool (…, N, M): which pairs overlap by more than the threshold and, if there are groups, are of one group."""
    overlapping = box_ops.iou(boxes, others) > threshold
    if groups is None:
        return overlapping
    return ops.logical_and(overlapping, ops.expand_dims(groups, -1) == ops.expand_dims(other_groups, -2))


def best(scores, count: int):
    """The `count` highest scores along the last axis and their indices: ((…, count), int32 (…, count)), best first.

    If there are fewer scores, the rest is -inf with index 0.
    """
    present = min(count, scores.shape[-1])
    values, indices = ops.top_k(scores, present, sorted=True)
    indices = ops.cast(indices, "int32")
    if present < count:
        widths = [(0, 0)] * (len(scores.shape) - 1) + [(0, count - present)]
        values = ops.pad(values, widths, constant_values=-float("inf"))
        indices = ops.pad(indices, widths)
    return values, indices


def best_pairs(scores, count: int):
    """The `count` best pairs of anchor and class, or all if there are fewer.

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


def best_of_each_class(scores, count: int):
    """As `best_pairs`, but the `count` best anchors of each class, or all if there are fewer; class by class."""
    classes = scores.shape[-1]
    values, rows = best(ops.swapaxes(scores, 1, 2), min(count, scores.shape[1]))
    columns = ops.broadcast_to(ops.reshape(ops.arange(classes, dtype="int32"), (1, classes, 1)), ops.shape(rows))
    total = classes * rows.shape[-1]
    return tuple(ops.reshape(x, (-1, total)) for x in (values, rows, columns))


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
    """The best boxes of many candidates; each suppresses only boxes of its group (a class, or a pyramid level).

    Greedy suppression as in `suppress`, block by block from the best on. Each block is compared with the boxes kept
    before and then with itself. So memory is block × (count + block), however many candidates there are. It ends when
    `count` boxes are kept or no candidate has a score left. Images are processed one after the other.

    Args:
        boxes: (B, K, 4) in pixels.
        scores: (B, K); -inf for boxes to leave out.
        groups: int (B, K).
        score_threshold: only higher scores count.
        iou_threshold: as in `suppress`.
        count: boxes per image in the output.
        agnostic: whether a box also suppresses boxes of other groups.
        block: candidates that are compared at once.

    Returns:
        {"boxes": float32 (B, count, 4), "scores": float32 (B, count), "classes": int32 (B, count), the groups, "valid":
        bool (B, count)}, best first; zeros if `valid` is false.
    """
    total = scores.shape[1]
    block = min(block, total)
    blocks = -(-total // block)

    def one_image(image):
        image_boxes, image_scores, image_groups = image
        values, indices = best(image_scores, blocks * block)
        candidates = [ops.take(image_boxes, indices, axis=0), values, ops.take(image_groups, indices, axis=0)]
        candidates = [ops.reshape(x, (blocks, block, *x.shape[1:])) for x in candidates]
        nothing = [ops.zeros((count, 4)), ops.full((count,), -float("inf")), ops.zeros((count,), "int32")]

        def more(i, _boxes, kept_scores, _groups):
            left = ops.logical_and(i < blocks, kept_scores[-1] == -float("inf"))
            return ops.logical_and(
                left, ops.take(candidates[1], ops.minimum(i, blocks - 1), axis=0)[0] > score_threshold
            )

        def step(i, *kept):
            new = [ops.take(x, i, axis=0) for x in candidates]
            new_groups, kept_groups = (None, None) if agnostic else (new[2], kept[2])
            hits = _overlapping(new[0], kept[0], iou_threshold, new_groups, kept_groups)
            hits = ops.logical_and(hits, ops.expand_dims(kept[1] > -float("inf"), 0))
            valid = ops.logical_and(new[1] > score_threshold, ops.logical_not(ops.any(hits, axis=-1)))
            valid = suppress(new[0], new[1], iou_threshold, valid, new_groups)
            new[1] = ops.where(valid, new[1], -float("inf"))
            both = [ops.concatenate([a, b], axis=0) for a, b in zip(kept, new, strict=True)]
            # kept boxes come first: of equal scores the earlier is the better
            values, chosen = best(both[1], count)
            return i + 1, ops.take(both[0], chosen, axis=0), values, ops.take(both[2], chosen, axis=0)

        _, *kept = ops.while_loop(more, step, (ops.convert_to_tensor(0, "int32"), *nothing), maximum_iterations=blocks)
        return tuple(kept)

    images = (ops.cast(boxes, "float32"), ops.cast(scores, "float32"), ops.cast(groups, "int32"))
    kept_boxes, values, classes = ops.map(one_image, images)
    valid = values > -float("inf")
    return {
        "boxes": _where(valid, kept_boxes),
        "scores": ops.where(valid, values, 0.0),
        "classes": ops.where(valid, classes, 0),
        "valid": valid,
    }


def gather(values, indices):
    """The rows of each image at its indices: (B, N, D) at int (B, K) to (B, K, D)."""
    return ops.take_along_axis(values, ops.expand_dims(indices, -1), axis=1)


def _where(valid, boxes):
    return ops.where(ops.expand_dims(valid, -1), boxes, 0.0)
