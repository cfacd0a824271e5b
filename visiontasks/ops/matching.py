"""Which true box each anchor learns from. Fixed shapes: true boxes are padded, `valid` says which ones are there."""

from keras import ops

from visiontasks.ops import boxes as box_ops

BACKGROUND = -1  # overlaps no true box enough
IGNORED = -2  # learns nothing: between object and background, or in an ignored region
COVERED = 0.5  # the least share of its area within an ignored region by which an anchor is ignored


def by_threshold(overlaps, valid, high: float, low: float | None = None, rescue: bool = False):
    """The true box that each anchor overlaps most, where that is enough (Ren et al. 2015, section 3.1.2).

    Args:
        overlaps: float (…, G, A), the IoU of each true box with each anchor.
        valid: bool (…, G), which true boxes there are.
        high: from this overlap on an anchor learns from its box.
        low: below it an anchor is background, between the two it is ignored; `high` by default.
        rescue: whether the anchors that a true box overlaps most, ties included, learn whatever their overlap, each
            from the box that it overlaps most itself.

    Returns:
        int32 (…, A): the number of the true box, or BACKGROUND or IGNORED.
    """
    overlaps = _of_valid(overlaps, valid)
    most = ops.max(overlaps, axis=-2)
    nearest = ops.cast(ops.argmax(overlaps, axis=-2), "int32")
    matches = ops.where(most >= high, nearest, IGNORED)
    matches = ops.where(most < (high if low is None else low), BACKGROUND, matches)
    if rescue:
        best = ops.max(overlaps, axis=-1, keepdims=True)
        # a true box that no anchor meets has them all for its best: it rescues none
        chosen = ops.any(ops.logical_and(overlaps == best, best > 0), axis=-2)
        matches = ops.where(chosen, nearest, matches)
    return matches


def nearest(boxes, valid, anchors, ignored, *, high: float, low: float | None = None, rescue: bool = False):
    """`by_threshold` of boxes (B, G, 4) and anchors (B, A, 4), then `ignore`: int32 (B, A).

    One image after the other: the overlaps of a whole batch with hundreds of thousands of anchors are gigabytes.
    """

    def of_one(one):
        boxes, valid, anchors, ignored = one
        return ignore(by_threshold(box_ops.iou(boxes, anchors), valid, high, low, rescue), boxes, ignored, anchors)

    return ops.map(of_one, (boxes, valid, anchors, ignored))


def ignore(matches, boxes, ignored, anchors):
    """The matches with IGNORED for what is BACKGROUND but lies in an ignored region, with half its area or more.

    Args:
        matches: int (…, A).
        boxes: (…, G, 4).
        ignored: bool (…, G), which of the boxes are ignored regions.
        anchors: (…, A, 4), or the boxes that are predicted there.
    """
    return ops.where(ops.logical_and(matches == BACKGROUND, covered(boxes, ignored, anchors)), IGNORED, matches)


def covered(boxes, ignored, anchors):
    """bool (…, A): which anchors have half their area or more within one ignored region; see `ignore`."""
    shares = box_ops.iof(boxes, anchors)
    return ops.any(ops.logical_and(shares >= COVERED, ops.expand_dims(ignored, -1)), axis=-2)


def bipartite(overlaps, valid, threshold: float):
    """SSD's matching: each true box has the anchor that it overlaps most, and all that it overlaps by `threshold`.

    Where two true boxes overlap one anchor most, the later has it. Liu et al. 2016
    (https://arxiv.org/abs/1512.02325), section 2.2.

    Args:
        overlaps: float (…, G, A).
        valid: bool (…, G).
        threshold: the least overlap beside the best.

    Returns:
        int32 (…, A): the number of the true box, or BACKGROUND.
    """
    matches = by_threshold(overlaps, valid, threshold)
    count, anchors = overlaps.shape[-2:]
    favourite = ops.argmax(overlaps, axis=-1)
    is_favourite = ops.logical_and(
        ops.expand_dims(favourite, -1) == ops.arange(anchors, dtype=favourite.dtype), ops.expand_dims(valid, -1)
    )
    numbers = ops.expand_dims(ops.arange(count, dtype="int32"), -1)
    owner = ops.max(ops.where(is_favourite, numbers, BACKGROUND), axis=-2)
    return ops.where(owner > BACKGROUND, owner, matches)


def _of_valid(overlaps, valid):
    # below any overlap, so that a true box that is not there is nobody's nearest
    return ops.where(ops.expand_dims(valid, -1), ops.cast(overlaps, "float32"), -1.0)


def take(values, matches):
    """What belongs to each anchor's true box: (B, G, …) at int (B, A) to (B, A, …); the first where there is none."""
    places = ops.maximum(matches, 0)
    return ops.take_along_axis(values, places if len(values.shape) == 2 else ops.expand_dims(places, -1), axis=1)
