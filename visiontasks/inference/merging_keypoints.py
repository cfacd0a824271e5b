"""Merges the people of several views of one image, so that each has one set of keypoints."""

from collections.abc import Sequence

import numpy as np

from visiontasks.inference.merging import cut_off
from visiontasks.inference.views import Shown
from visiontasks.ops import numpy_boxes
from visiontasks.ops.numpy_keypoints import FILLED, boxes_around, oks, similarity
from visiontasks.skeleton import Skeleton

SAME = 0.5  # people of two views with a higher OKS are one; and so are keypoints whose part of it is higher
SEEN = 0.05  # the score from which a keypoint is compared
DOUBLE, COUNTED = 0.9, 0.2  # the OKS of two views of one person, and the score from which a keypoint counts
FEWEST = 3  # keypoints that both views must have found; of fewer the boxes decide


def merge_keypoints(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    keypoints: np.ndarray,
    windows: np.ndarray,
    seen_in: np.ndarray,
    image_size: tuple[int, int],
    sigmas: Sequence[float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Merge the people of several views: greedily from the best, those that no tile cuts off first, by class.

    People of one view are never merged: the head has done its own suppression. A merged person has the box of the best
    or, if that was cut off, the box around all parts, also of those that only other parts overlap; its highest score;
    and of each keypoint the mean of the positions that agree with the one of the highest score, weighted by their
    scores, over the views that show it.

    Args:
        boxes: float (N, 4) x1, y1, x2, y2 in the image's pixels.
        scores, classes: (N,).
        keypoints: float32 (N, K, 3), x, y and score.
        windows: float (N, 4) x1, y1, x2, y2, the window of each person's view.
        seen_in: integers (N,), the view's index; a window and its mirror image are two views.
        image_size: (height, width).
        sigmas: (K,), of OKS.

    Returns:
        the merged boxes, scores, classes and keypoints, best first.
    """
    cut = cut_off(boxes, windows, image_size)
    order = np.lexsort((-scores, cut))
    boxes, scores, classes, keypoints, windows, seen_in, cut = (
        np.array(a)[order] for a in (boxes, scores, classes, keypoints, windows, seen_in, cut)
    )
    left, kept = np.ones(len(boxes), bool), []
    for row in range(len(boxes)):
        if not left[row]:
            continue
        kept.append(row)
        left[row], group = False, [row]
        for member in group:  # grows: what no view shows whole, each part continues
            rest = np.flatnonzero(left & (classes == classes[row]) & ~np.isin(seen_in, seen_in[group]))
            alike = _alike(member, rest, boxes, keypoints, windows, cut, sigmas)
            # of each other view the one that is most alike
            pairs = sorted(zip(rest, alike, strict=True), key=lambda pair: pair[1])
            best = {seen_in[j]: j for j, value in pairs if value > SAME}
            group += best.values()
            left[group] = False
            if not cut[row]:
                break
        scores[row] = scores[group].max()
        if cut[row]:
            boxes[row] = [*boxes[group, :2].min(axis=0), *boxes[group, 2:].max(axis=0)]
        area = FILLED * (boxes[row, 2] - boxes[row, 0]) * (boxes[row, 3] - boxes[row, 1])
        keypoints[row] = _mean(keypoints[group], windows[group], area, sigmas)
    kept = np.array(kept, int)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return boxes[kept], scores[kept], classes[kept], keypoints[kept]


def _alike(row, rest, boxes, keypoints, windows, cut, sigmas):
    """(R,): how alike one person is to others: OKS of the keypoints that both views show, or the IoU of boxes."""
    if not len(rest):
        return np.zeros(0)
    # what both views show of a person that one of them cuts off
    ours = np.where(cut[rest, None], numpy_boxes.clip(boxes[row], windows[rest]), boxes[row])
    theirs = np.where(cut[row], numpy_boxes.clip(boxes[rest], windows[row]), boxes[rest])
    overlap = numpy_boxes.paired_iou(ours, theirs)
    counted = (keypoints[rest, :, 2] >= SEEN) & (keypoints[row, :, 2] >= SEEN)
    for one, other in ((keypoints[rest, :, :2], windows[row][None]), (keypoints[None, row, :, :2], windows[rest])):
        counted &= ((one >= other[:, None, :2]) & (one <= other[:, None, 2:])).all(axis=-1)
    areas = FILLED * np.maximum(numpy_boxes.area(boxes[rest]), numpy_boxes.area(boxes[row]))
    close = oks(keypoints[None, row], keypoints[rest], areas, sigmas, counted)[0]
    # a keypoint or two say less, but when they are apart, these are two people
    common = counted.sum(axis=1)
    return np.where(common >= FEWEST, close, np.where(common > 0, np.minimum(close, overlap), overlap))


def merge_shown(
    keypoints: Sequence[np.ndarray], shown: Sequence[Shown], skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The people of views of one person each; the keypoints of a view and its mirrored one are averaged.

    The score is that of the detection times the mean of the keypoints' scores of 0.2 and above (Xiao et al. 2018,
    https://arxiv.org/abs/1804.06208, section 4.1). A person with an OKS above 0.9 with a better one is left out. Of an
    object that no detector found, the score is the mean of all keypoints', and the box lies around those of 0.2 and
    above; without those there is none.

    Args:
        keypoints: of each view, float32 (1, K, 3), x, y and score in the image's pixels.
        shown: the object of each view.
        skeleton: of the keypoints.

    Returns:
        as `merge_keypoints`.
    """
    points = np.zeros((0, len(skeleton), 3), np.float32)
    by_number = {}
    for one, rows in zip(shown, keypoints, strict=True):
        by_number.setdefault(one.number, (one, []))[1].append(rows)
    people = [one for one, _ in by_number.values()]
    boxes = np.array([one.box for one in people], np.float32).reshape(-1, 4)
    areas = FILLED * numpy_boxes.area(boxes)
    everywhere = np.tile(np.float64([-np.inf, -np.inf, np.inf, np.inf]), (max(1, len(shown)), 1))
    if people:
        rows = zip(by_number.values(), areas, strict=True)
        points = np.stack(
            [
                _mean(np.concatenate(several), everywhere[: len(several)], area, skeleton.sigmas)
                for (_, several), area in rows
            ]
        )
    good = points[..., 2] >= COUNTED
    means = np.where(good, points[..., 2], 0).sum(axis=1) / np.maximum(good.sum(axis=1), 1)
    scores = np.array([one.score for one in people], np.float32) * means
    if people and not people[0].detected:
        scores, boxes = points[..., 2].mean(axis=1), np.float32(boxes_around(points, good))
    order = np.argsort(-scores, kind="stable")
    every = np.ones(points.shape[:2], bool)
    alike = oks(points, points, areas, skeleton.sigmas, every)
    alike = (alike + alike.T) / 2
    kept = []
    for row in order.tolist():
        if (boxes[row, 2:] > boxes[row, :2]).all() and all(alike[row, better] <= DOUBLE for better in kept):
            kept.append(row)
    kinds = np.array([one.kind for one in people], np.int32)
    return boxes[kept], scores[kept].astype(np.float32), kinds[kept], points[kept].astype(np.float32)


def _mean(points, windows, area, sigmas):
    """(K, 3): one person of several (G, K, 3); a view counts for the keypoints that its window shows."""
    first = points[..., 2].argmax(axis=0)[None, :, None]
    best = np.take_along_axis(points, first, axis=0)
    places, low, high = best[..., :2], windows[:, None, :2], windows[:, None, 2:]
    shown = ((places >= low) & (places <= high)).all(axis=-1) | (np.arange(len(points))[:, None] == first[..., 0])
    agree = shown & (similarity(points, best, area, sigmas) > SAME)
    weights = np.where(agree, points[..., 2], 0)[..., None]
    total = weights.sum(axis=0)
    places = (weights * points[..., :2]).sum(axis=0) / np.maximum(total, 1e-9)
    values = total[:, 0] / np.maximum(((weights[..., 0] > 0) & agree).sum(axis=0), 1)
    return np.concatenate([np.where(total > 0, places, best[0, :, :2]), values[:, None]], axis=1)
