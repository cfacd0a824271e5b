"""Which anchors learn from each true box, where the boxes of the picture or the answers themselves decide how many.

Fixed shapes: true boxes are padded, `valid` says which ones are there. All in float32, and without a gradient.
"""

from collections.abc import Sequence

from keras import ops

from visiontasks.ops import boxes as box_ops
from visiontasks.ops.matching import BACKGROUND

# below it a quotient of two alignments is no longer a number that float32 knows on every device
LEAST_ALIGNMENT = 1e-30
# compilers round the same sum in several ways: what lies this near to a limit counts as on it, whoever computes
ROUNDING = 1e-6  # of the limit
BORDER = 1e-4  # of a cell


def task_aligned(scores, overlaps, inside, valid, count: int = 13, alpha: float = 1.0, beta: float = 6.0):
    """The anchors whose class and box are both right already learn most: task-aligned assignment.

    Feng et al. 2021 (https://arxiv.org/abs/2108.07755), section 3.2: alignment t = score^alpha · overlap^beta; a true
    box has the `count` anchors of the largest t out of those whose centre it contains, and all that equal the last of
    them; an anchor that several want goes to the one it overlaps most, the first of equal ones. Targets are t, scaled
    so that the largest in a true box equals the largest overlap there.

    The paper leaves a true box that loses all of its anchors so with nothing to learn: a ball before its player, whose
    box overlaps their one common anchor more, is never found. Here it takes back the best aligned of those that are not
    the best one of their new owner, if there is any: nobody is left with nothing by that.

    Args:
        scores: float (…, G, A), 0..1, what each anchor says of each true box's class.
        overlaps: float (…, G, A), the IoU of each true box with the box that each anchor predicts.
        inside: bool (…, G, A), whether the anchor's centre lies in the true box.
        valid: bool (…, G), which true boxes there are.
        count: anchors a true box.
        alpha, beta: how much the score and the overlap weigh.

    Returns:
        int32 (…, A), the number of the true box or BACKGROUND, and float32 (…, A), the class score to learn, 0..1.
    """
    scores, overlaps = (ops.stop_gradient(ops.cast(x, "float32")) for x in (scores, overlaps))
    alignment = ops.power(scores, alpha) * ops.power(overlaps, beta)
    candidate = ops.logical_and(inside, ops.expand_dims(valid, -1))
    candidate = ops.logical_and(candidate, alignment > LEAST_ALIGNMENT)
    alignment = ops.where(candidate, alignment, 0.0)
    wanted = ops.logical_and(candidate, _largest(alignment, count))
    matches = _one_each(wanted, overlaps)
    own = _owned(matches, overlaps)
    spared = ops.logical_not(ops.any(ops.logical_and(own, _largest(ops.where(own, alignment, 0.0), 1)), axis=-2))
    lost = ops.logical_not(ops.any(own, axis=-1, keepdims=True))
    back = ops.logical_and(ops.logical_and(wanted, lost), ops.expand_dims(spared, -2))
    back = ops.logical_and(back, _largest(ops.where(back, alignment, 0.0), 1))
    matches = ops.where(ops.any(back, axis=-2), _one_each(back, overlaps), matches)
    own = _owned(matches, overlaps)
    alignment, overlaps = ops.where(own, alignment, 0.0), ops.where(own, overlaps, 0.0)
    most = ops.max(alignment, axis=-1, keepdims=True)
    scaled = alignment / ops.where(most > 0, most, 1.0) * ops.max(overlaps, axis=-1, keepdims=True)
    return matches, ops.sum(scaled, axis=-2)


def adaptive(boxes, valid, anchors, levels: Sequence[int], count: int = 9):
    """Adaptive training sample selection (ATSS): each true box sets its own overlap from which anchors learn from it.

    Zhang et al. 2020 (https://arxiv.org/abs/1912.02424), algorithm 1: candidates are the `count` anchors of each level
    whose centres are nearest to the box's, and all that are as near as the last of them; those learn that lie with
    their centre in the box and whose overlap is at least the mean of the candidates' plus their standard deviation
    (over n - 1, as in the authors' program). An anchor of several goes to the one that it overlaps most.

    Args:
        boxes: (…, G, 4), true boxes in pixels.
        valid: bool (…, G), which ones there are.
        anchors: (A, 4) in pixels, level by level.
        levels: how many anchors each level has.
        count: candidates of a level.

    Returns:
        int32 (…, A), the number of the true box or BACKGROUND.

    Raises:
        ValueError: the levels have other anchors than there are.
    """
    if sum(levels) != anchors.shape[-2]:
        raise ValueError(f"levels: expected {anchors.shape[-2]} anchors in all, got {sum(levels)} in {tuple(levels)}.")
    boxes, anchors = (ops.stop_gradient(ops.cast(x, "float32")) for x in (boxes, anchors))
    if len(boxes.shape) > 2:  # one picture after the other: as `matching.nearest` does, and for the same reason
        return ops.map(lambda one: adaptive(*one, anchors, levels, count), (boxes, ops.convert_to_tensor(valid)))
    overlaps, centres = box_ops.iou(boxes, anchors), _centres(anchors)
    steps = ops.expand_dims(_centres(boxes), -2) - centres
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
    wanted = ops.logical_and(candidate, ops.logical_and(overlaps >= threshold, box_ops.contain(boxes, centres)))
    return _one_each(ops.logical_and(wanted, ops.expand_dims(valid, -1)), overlaps)


def by_cell(boxes, valid, grid: tuple[int, int], size):
    """The true box whose centre lies in each cell of a grid over the picture; of several the largest.

    Redmon et al. 2016 (https://arxiv.org/abs/1506.02640), section 2, which knows one object a cell.

    Args:
        boxes: (B, G, 4), true boxes in pixels.
        valid: bool (B, G), which ones there are.
        grid: (rows, columns).
        size: float (B, 2), the pictures' heights and widths.

    Returns:
        int32 (B, rows * columns), row by row: the number of the true box or BACKGROUND.
    """
    rows, columns = grid
    boxes, size = (ops.cast(x, "float32") for x in (boxes, size))
    share = _centres(boxes) / ops.expand_dims(ops.flip(size, axis=-1), 1)
    # a centre on a border belongs to the cell behind it, on the last border to the last cell
    column, row = (
        ops.cast(ops.clip(ops.floor(share[..., i] * count + BORDER), 0, count - 1), "int32")
        for i, count in ((0, columns), (1, rows))
    )
    here = ops.expand_dims(row * columns + column, -1) == ops.arange(rows * columns, dtype="int32")
    wanted = ops.logical_and(here, ops.expand_dims(valid, -1))
    return _one_each(wanted, ops.expand_dims(box_ops.area(boxes), -1))


def _largest(values, count):
    """bool (…, A): whether a value is among the `count` largest of the last axis; of equal ones all or none."""
    # a comparison, not the places that top_k gives: which of equal ones these are differs from backend to backend
    top, _ = ops.top_k(values, min(count, values.shape[-1]), sorted=True)
    last = top[..., -1:]
    return values >= last - ROUNDING * ops.abs(last)


def _one_each(wanted, strength):
    """int32 (…, A) of bool and float (…, G, A): of those that want an anchor the strongest, of equal ones the first."""
    owner = ops.cast(ops.argmax(ops.where(wanted, strength, -1.0), axis=-2), "int32")
    return ops.where(ops.any(wanted, axis=-2), owner, BACKGROUND)


def _owned(matches, overlaps):
    """bool (…, G, A): which anchors each true box has, from their owners (…, A)."""
    return ops.expand_dims(matches, -2) == ops.expand_dims(ops.arange(overlaps.shape[-2], dtype="int32"), -1)


def _centres(boxes):
    return (boxes[..., :2] + boxes[..., 2:]) / 2
