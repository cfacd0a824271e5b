"""Box operations in the graph: overlaps, encoding to anchors, clipping. The only home of box arithmetic.

A box is (x1, y1, x2, y2) in pixels. All results are computed in float32: in float16 an IoU can exceed 1.
"""

import math

from keras import ops
from keras.utils import bounding_boxes

# the largest exponent: 1000 pixels from an anchor of 16 (Detectron, and torchvision after it)
LARGEST_LOG = math.log(1000 / 16)


def area(boxes):
    """float32 (…,) of boxes (…, 4); 0 if width or height is negative."""
    x1, y1, x2, y2 = _coordinates(boxes)
    return ops.maximum(x2 - x1, 0.0) * ops.maximum(y2 - y1, 0.0)


def centers(boxes):
    """(…, 2), x and y, of boxes (…, 4)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def iou(boxes, others):
    """Intersection over union of every pair: (…, N, 4) and (…, M, 4) to float32 (…, N, M), 0..1; 0 for empty boxes."""
    boxes, others = ops.expand_dims(boxes, -2), ops.expand_dims(others, -3)
    return _ratio(*_overlap(boxes, others))


def iof(boxes, others):
    """Intersection of every pair over the other box's own area: (…, N, 4) and (…, M, 4) to float32 (…, N, M), 0..1.

    0 where the other box is empty.
    """
    boxes, others = ops.expand_dims(boxes, -2), ops.expand_dims(others, -3)
    return _ratio(_overlap(boxes, others)[0], area(others))


def paired_iou(boxes, others, kind: str = "iou"):
    """The overlap of each box with its counterpart: (…, 4) and (…, 4) to float32 (…,), at most 1.

    Differentiable. For two boxes without overlap, all kinds but iou still measure their distance.

    Args:
        boxes: the predicted boxes.
        others: their targets.
        kind: iou; giou (Rezatofighi et al. 2019, https://arxiv.org/abs/1902.09630, algorithm 1); diou or ciou (Zheng
            et al. 2020, https://arxiv.org/abs/1911.08287, equations 5 to 11). Above -1, -1 and -2.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in ("iou", "giou", "diou", "ciou"):
        raise ValueError(f"kind: expected iou, giou, diou or ciou; got {kind!r}.")
    intersection, union = _overlap(boxes, others)
    overlap = _ratio(intersection, union)
    if kind == "iou":
        return overlap
    a, b = _coordinates(boxes), _coordinates(others)
    # the smallest box around both
    width = ops.maximum(a[2], b[2]) - ops.minimum(a[0], b[0])
    height = ops.maximum(a[3], b[3]) - ops.minimum(a[1], b[1])
    if kind == "giou":
        hull = ops.maximum(width, 0.0) * ops.maximum(height, 0.0)
        return overlap - _ratio(hull - union, hull)
    distance = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    overlap_and_distance = overlap - _ratio(distance, width**2 + height**2)
    if kind == "diou":
        return overlap_and_distance
    angles = [ops.arctan2(s[2] - s[0], ops.maximum(s[3] - s[1], 1e-7)) for s in (a, b)]
    shape = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    weight = ops.stop_gradient(_ratio(shape, 1 - overlap + shape))
    return overlap_and_distance - weight * shape


def encode(boxes, anchors, variances=(1.0, 1.0, 1.0, 1.0)):
    """Encode boxes relative to anchors: center offsets in anchor widths and heights, logarithms of the size ratios.

    `decode(encode(boxes, anchors, v), anchors, v)` returns the boxes, up to 62 times the size of their anchors.

    Args:
        boxes: (…, N, 4).
        anchors: (N, 4) or (…, N, 4), none of them empty.
        variances: the divisors of x, y, width, height. torchvision's `weights` are their inverses.

    Returns:
        float32 (…, N, 4). Girshick et al. 2014 (https://arxiv.org/abs/1311.2524), appendix C.
    """
    return bounding_boxes.encode_box_to_deltas(
        _float32(anchors), _float32(boxes), "xyxy", "xyxy", "center_xywh", list(variances)
    )


def decode(deltas, anchors, variances=(1.0, 1.0, 1.0, 1.0)):
    """The inverse of `encode`: float32 (…, N, 4). Sizes grow at most 62-fold, so that no output is infinite."""
    deltas = _float32(deltas) * ops.convert_to_tensor(variances, "float32")
    deltas = ops.concatenate([deltas[..., :2], ops.minimum(deltas[..., 2:], LARGEST_LOG)], axis=-1)
    return bounding_boxes.decode_deltas_to_boxes(_float32(anchors), deltas, "xyxy", "xyxy", "center_xywh")


def distances(boxes, points):
    """The distance of each point to its box's left, top, right and bottom edge; negative if the point is outside.

    `from_distances(distances(boxes, points), points)` returns the boxes, and vice versa.

    Args:
        boxes: (…, N, 4).
        points: (…, N, 2), x and y; the two shapes broadcast.

    Returns:
        float32 (…, N, 4). Tian et al. 2019 (https://arxiv.org/abs/1904.01355), equation 1.
    """
    boxes, points = _float32(boxes), _float32(points)
    return ops.concatenate([points - boxes[..., :2], boxes[..., 2:] - points], axis=-1)


def from_distances(distances, points):
    """The inverse of `distances`: float32 boxes (…, N, 4) around points (…, N, 2)."""
    distances, points = _float32(distances), _float32(points)
    return ops.concatenate([points - distances[..., :2], points + distances[..., 2:]], axis=-1)


def contain(boxes, points):
    """bool (…, N, M): whether the points (…, M, 2) lie inside the boxes (…, N, 4), not on their edges."""
    x1, y1, x2, y2 = (ops.expand_dims(coordinate, -1) for coordinate in _coordinates(boxes))
    x, y = (ops.expand_dims(_float32(points[..., i]), -2) for i in (0, 1))
    across, down = ops.logical_and(x > x1, x < x2), ops.logical_and(y > y1, y < y2)
    return ops.logical_and(across, down)


def clip(boxes, size):
    """Clip boxes (…, N, 4) to images of `size` (height, width), or (…, 2) for one size per image; float32."""
    height_width = ops.convert_to_tensor(size, "float32")
    corner = ops.flip(height_width, axis=-1)
    return ops.clip(_float32(boxes), 0.0, ops.expand_dims(ops.concatenate([corner, corner], axis=-1), -2))


def at_least(boxes, length: float):
    """bool (…,): which boxes (…, 4) are at least `length` pixels wide and high."""
    x1, y1, x2, y2 = _coordinates(boxes)
    return ops.logical_and(x2 - x1 >= length, y2 - y1 >= length)


def _float32(boxes):
    return ops.cast(boxes, "float32")


def _coordinates(boxes):
    boxes = _float32(boxes)
    return boxes[..., 0], boxes[..., 1], boxes[..., 2], boxes[..., 3]


def _overlap(boxes, others):
    """(intersection, union) of boxes whose shapes broadcast."""
    a, b = _coordinates(boxes), _coordinates(others)
    width = ops.maximum(ops.minimum(a[2], b[2]) - ops.maximum(a[0], b[0]), 0.0)
    height = ops.maximum(ops.minimum(a[3], b[3]) - ops.maximum(a[1], b[1]), 0.0)
    intersection = width * height
    return intersection, area(boxes) + area(others) - intersection


def _ratio(numerator, denominator):
    """numerator / denominator, or 0 if the denominator is not positive; the gradient is always finite."""
    positive = denominator > 0
    return ops.where(positive, numerator / ops.where(positive, denominator, 1.0), 0.0)
