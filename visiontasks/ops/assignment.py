"""Assigns anchors to ground-truth boxes where all boxes of an image, or the predictions, decide how many each gets.

Fixed shapes: ground-truth boxes are padded, `valid` is false for padding. All in float32, and without a gradient.
"""

from collections.abc import Sequence

from keras import ops

from visiontasks.ops import boxes as box_ops
from visiontasks.ops.matching import BACKGROUND, ignore

# below it a quotient of two alignments is not representable in float32 on every device
LEAST_ALIGNMENT = 1e-30
# compilers round the same sum differently: a value this close to a limit counts as equal to it
ROUNDING = 1e-6  # of the limit
BORDER = 1e-4  # of a cell


def task_aligned(scores, overlaps, inside, valid, count: int = 13, alpha: float = 1.0, beta: float = 6.0):
    """Task-aligned assignment: an object is learned by the anchors whose class and box already fit it best.

    Feng et al. 2021 (https://arxiv.org/abs/2108.07755), section 3.2: alignment t = score^alpha · overlap^beta. An
    object gets the `count` anchors with the largest t among those whose center its box contains, and all that equal the
    last of them. An anchor of several objects goes to the one it overlaps most, the first of equal ones. Targets are t,
    scaled so that an object's largest target equals its largest overlap.

    In the paper an object that loses all of its anchors this way learns nothing: a ball in front of its player, whose
    box overlaps their only common anchor more, is never detected. Here it takes back its best aligned anchor among
    those that are not the best of their new owner, if there is one, so that no owner is left without anchors.

    Args:
        scores: float (…, G, A), 0..1, each anchor's score for each object's class.
        overlaps: float (…, G, A), the IoU of each ground-truth box with the box that each anchor predicts.
        inside: bool (…, G, A), whether the anchor's center lies in the ground-truth box.
        valid: bool (…, G), false for padding.
        count: anchors per object.
        alpha, beta: exponents of score and overlap.

    Returns:
        int32 (…, A), the index of the ground-truth box or BACKGROUND, and float32 (…, A), the target score, 0..1.
    """
    scores, overlaps = (ops.stop_gradient(ops.cast(x, "float32")) for x in (scores, overlaps))
    alignment = ops.power(scores, alpha) * ops.power(overlaps, beta)
    candidate = ops.logical_and(inside, ops.expand_dims(valid, -1))
    candidate = ops.logical_and(candidate, alignment > LEAST_ALIGNMENT)
    alignment = ops.where(candidate, alignment, 0.0)
    selected = ops.logical_and(candidate, _largest(alignment, count))
    matches = _strongest(selected, overlaps)
    assigned = _assigned(matches, overlaps)
    is_best = ops.logical_and(assigned, _largest(ops.where(assigned, alignment, 0.0), 1))
    free = ops.logical_not(ops.any(is_best, axis=-2, keepdims=True))
    empty = ops.logical_not(ops.any(assigned, axis=-1, keepdims=True))
    returned = ops.logical_and(ops.logical_and(selected, empty), free)
    returned = ops.logical_and(returned, _largest(ops.where(returned, alignment, 0.0), 1))
    matches = ops.where(ops.any(returned, axis=-2), _strongest(returned, overlaps), matches)
    assigned = _assigned(matches, overlaps)
    alignment, overlaps = ops.where(assigned, alignment, 0.0), ops.where(assigned, overlaps, 0.0)
    highest = ops.max(alignment, axis=-1, keepdims=True)
    scaled = alignment / ops.where(highest > 0, highest, 1.0) * ops.max(overlaps, axis=-1, keepdims=True)
    return matches, ops.sum(scaled, axis=-2)


def adaptive(boxes, valid, anchors, ignored, levels: Sequence[int], count: int = 9):
    """Adaptive training sample selection (ATSS): each object has its own overlap threshold for anchors.

    Zhang et al. 2020 (https://arxiv.org/abs/1912.02424), algorithm 1: candidates are the `count` anchors of each level
    with the nearest centers to the box's, and all as near as the last of them. Those are assigned whose center lies in
    the box and whose overlap is at least the mean plus the standard deviation of the candidates' overlaps (over n - 1,
    as in the authors' program). An anchor of several objects goes to the one it overlaps most.

    Args:
        boxes: (…, G, 4), ground-truth boxes in pixels.
        valid: bool (…, G), false for padding.
        anchors: (A, 4) in pixels, level by level.
        ignored: bool (…, G), which of the boxes are ignored regions; see `matching.ignore`.
        levels: number of anchors of each level.
        count: candidates per level.

    Returns:
        int32 (…, A), the index of the ground-truth box, or BACKGROUND or IGNORED.

    Raises:
        ValueError: the levels do not add up to the number of anchors.
    """
    if sum(levels) != anchors.shape[-2]:
        raise ValueError(f"levels: expected {anchors.shape[-2]} anchors in all, got {sum(levels)} in {tuple(levels)}.")
    boxes, anchors = (ops.stop_gradient(ops.cast(x, "float32")) for x in (boxes, anchors))
    if len(boxes.shape) > 2:  # one image after the other, as in `matching.nearest`, and for the same reason
        each = (boxes, *map(ops.convert_to_tensor, (valid, ignored)))
        return ops.map(lambda one: adaptive(*one[:2], anchors, one[2], levels, count), each)
    overlaps, centers = box_ops.iou(boxes, anchors), box_ops.centers(anchors)
    steps = ops.expand_dims(box_ops.centers(boxes), -2) - centers
    nearness = -ops.sum(steps**2, axis=-1)
    chosen, first = [], 0
    for size in levels:
        chosen.append(_largest(nearness[..., first : first + size], count))
        first += size
    candidate = ops.concatenate(chosen, axis=-1)
    number = ops.sum(ops.cast(candidate, "float32"), axis=-1, keepdims=True)
    mean = ops.sum(ops.where(candidate, overlaps, 0.0), axis=-1, keepdims=True) / number
    squares = ops.sum(ops.where(candidate, (overlaps - mean) ** 2, 0.0), axis=-1, keepdims=True)
    threshold = mean + ops.sqrt(squares / ops.maximum(number - 1.0, 1.0))
    wanted = ops.logical_and(candidate, ops.logical_and(overlaps >= threshold, box_ops.contain(boxes, centers)))
    matches = _strongest(ops.logical_and(wanted, ops.expand_dims(valid, -1)), overlaps)
    return ignore(matches, boxes, ignored, anchors)


def by_cell(boxes, valid, grid: tuple[int, int], size):
    """Assign to each cell of a grid over the image the largest object whose center it contains.

    Redmon et al. 2016 (https://arxiv.org/abs/1506.02640), section 2, which has one object per cell.

    Args:
        boxes: (B, G, 4), ground-truth boxes in pixels.
        valid: bool (B, G), false for padding.
        grid: (rows, columns).
        size: float (B, 2), the images' heights and widths.

    Returns:
        int32 (B, rows * columns), row by row: the index of the ground-truth box or BACKGROUND.
    """
    rows, columns = grid
    boxes, size = (ops.cast(x, "float32") for x in (boxes, size))
    share = box_ops.centers(boxes) / ops.expand_dims(ops.flip(size, axis=-1), 1)
    # a center on a border belongs to the next cell, on the last border to the last cell
    column, row = (
        ops.cast(ops.clip(ops.floor(share[..., i] * count + BORDER), 0, count - 1), "int32")
        for i, count in ((0, columns), (1, rows))
    )
    here = ops.expand_dims(row * columns + column, -1) == ops.arange(rows * columns, dtype="int32")
    wanted = ops.logical_and(here, ops.expand_dims(valid, -1))
    return _strongest(wanted, ops.expand_dims(box_ops.area(boxes), -1))


def _largest(values, count):
    """bool (…, A): whether a value is among the `count` largest of the last axis; of equal values all or none."""
    # by comparison: the indices that top_k returns for equal values differ between backends
    top, _ = ops.top_k(values, min(count, values.shape[-1]), sorted=True)
    last = top[..., -1:]
    return values >= last - ROUNDING * ops.abs(last)


def _strongest(wanted, strength):
    """int32 (…, A) from bool and float (…, G, A): the strongest candidate for each anchor, the first of equal ones."""
    owner = ops.cast(ops.argmax(ops.where(wanted, strength, -1.0), axis=-2), "int32")
    return ops.where(ops.any(wanted, axis=-2), owner, BACKGROUND)


def _assigned(matches, overlaps):
    """bool (…, G, A): the anchors of each ground-truth box, from their owners (…, A)."""
    return ops.expand_dims(matches, -2) == ops.expand_dims(ops.arange(overlaps.shape[-2], dtype="int32"), -1)
