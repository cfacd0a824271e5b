"""Matches anchors to ground-truth boxes. Fixed shapes: ground-truth boxes are padded, `valid` is false for padding."""

from keras import ops

from visiontasks.ops import boxes as box_ops

BACKGROUND = -1  # no sufficient overlap with any object
IGNORED = -2  # learns nothing: between object and background, or in an ignored region
COVERED = 0.5  # an anchor with this share of its area in an ignored region, or more, is ignored


def by_threshold(overlaps, valid, high: float, low: float | None = None, rescue: bool = False):
    """Match each anchor to the object it overlaps most, if that is enough (Ren et al. 2015, section 3.1.2).

    Args:
        overlaps: float (…, G, A), the IoU of each ground-truth box with each anchor.
        valid: bool (…, G), false for padding.
        high: an anchor with this overlap or more is matched.
        low: an anchor below it is background, between the two it is ignored; `high` by default.
        rescue: whether to match also the anchors with the largest overlap of an object, ties included, whatever it is;
            each to the object that the anchor overlaps most.

    Returns:
        int32 (…, A): the index of the ground-truth box, or BACKGROUND or IGNORED.
    """
    overlaps = _of_valid(overlaps, valid)
    most = ops.max(overlaps, axis=-2)
    nearest = ops.cast(ops.argmax(overlaps, axis=-2), "int32")
    matches = ops.where(most >= high, nearest, IGNORED)
    matches = ops.where(most < (high if low is None else low), BACKGROUND, matches)
    if rescue:
        best = ops.max(overlaps, axis=-1, keepdims=True)
        # an object that overlaps no anchor has all anchors as its best: it rescues none
        chosen = ops.any(ops.logical_and(overlaps == best, best > 0), axis=-2)
        matches = ops.where(chosen, nearest, matches)
    return matches


def nearest(boxes, valid, anchors, ignored, *, high: float, low: float | None = None, rescue: bool = False):
    """`by_threshold` for boxes (B, G, 4) and anchors (B, A, 4), then `ignore`: int32 (B, A).

    One image after the other: the overlaps of a whole batch with hundreds of thousands of anchors take gigabytes.
    """

    def of_one(one):
        boxes, valid, anchors, ignored = one
        return ignore(by_threshold(box_ops.iou(boxes, anchors), valid, high, low, rescue), boxes, ignored, anchors)

    return ops.map(of_one, (boxes, valid, anchors, ignored))


def ignore(matches, boxes, ignored, anchors):
    """Set matches to IGNORED for anchors that are BACKGROUND but have half of their area or more in an ignored region.

    Args:
        matches: int (…, A).
        boxes: (…, G, 4).
        ignored: bool (…, G), which of the boxes are ignored regions.
        anchors: (…, A, 4), or the boxes predicted there.
    """
    return ops.where(ops.logical_and(matches == BACKGROUND, covered(boxes, ignored, anchors)), IGNORED, matches)


def covered(boxes, ignored, anchors):
    """bool (…, A): which anchors have half of their area or more in one ignored region; see `ignore`."""
    shares = box_ops.iof(boxes, anchors)
    return ops.any(ops.logical_and(shares >= COVERED, ops.expand_dims(ignored, -1)), axis=-2)


def bipartite(overlaps, valid, threshold: float):
    """SSD's matching: each object gets the anchor that it overlaps most, and all that it overlaps by `threshold`.

    If two objects have the same best anchor, the later one gets it. Liu et al. 2016
    (https://arxiv.org/abs/1512.02325), section 2.2.

    Args:
        overlaps: float (…, G, A).
        valid: bool (…, G).
        threshold: minimum overlap of anchors that are not an object's best.

    Returns:
        int32 (…, A): the index of the ground-truth box, or BACKGROUND.
    """
    matches = by_threshold(overlaps, valid, threshold)
    count, anchors = overlaps.shape[-2:]
    best = ops.argmax(overlaps, axis=-1)
    is_best = ops.logical_and(
        ops.expand_dims(best, -1) == ops.arange(anchors, dtype=best.dtype), ops.expand_dims(valid, -1)
    )
    numbers = ops.expand_dims(ops.arange(count, dtype="int32"), -1)
    owner = ops.max(ops.where(is_best, numbers, BACKGROUND), axis=-2)
    return ops.where(owner > BACKGROUND, owner, matches)


def _of_valid(overlaps, valid):
    # below any overlap, so that padding is never the nearest
    return ops.where(ops.expand_dims(valid, -1), ops.cast(overlaps, "float32"), -1.0)


def take(values, matches):
    """The values of each anchor's matched object: (B, G, …) at int (B, A) to (B, A, …); of the first if unmatched."""
    indices = ops.maximum(matches, 0)
    return ops.take_along_axis(values, indices if len(values.shape) == 2 else ops.expand_dims(indices, -1), axis=1)
