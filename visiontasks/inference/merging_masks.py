"""Merges the masks of several views of one image, so that each object has one mask."""

import numpy as np

from visiontasks.inference.merging import cut_off, overlapping_pairs
from visiontasks.instance_masks import InstanceMasks, Patch


def merge_masks(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    masks: InstanceMasks,
    windows: np.ndarray,
    seen_in: np.ndarray,
    threshold: float = 0.5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, InstanceMasks]:
    """Merge the masks of several views: what two views show of one object is, where both look, nearly the same.

    Masks of a class, of different views, are one object if their IoU in the area that both views show exceeds the
    threshold; the most similar are joined first, and an object has at most one mask of each view. An object keeps the
    mask of the view that shows it whole. Of one that every view cuts, each pixel is taken from the view that shows most
    of the object among those that show the pixel.

    Args:
        boxes: float (N, 4) x1, y1, x2, y2 in the image's pixels.
        scores, classes: (N,).
        masks: N masks on the image.
        windows: int (N, 4) x1, y1, x2, y2, the window of each mask's view.
        seen_in: integers (N,), the view's index; a window and its mirror image are two views.
        threshold: see above.

    Returns:
        the merged boxes, scores, classes and masks, best first.
    """
    patches = [masks.patch(number) for number in range(len(masks))]
    group = _groups(_same(boxes, classes, patches, windows, seen_in, threshold), seen_in)
    cut = cut_off(boxes, windows, masks.size)
    areas = np.array([patch.pixels.sum() for patch in patches])
    merged = []
    for first in np.unique(group):
        rows = np.flatnonzero(group == first)
        # of whole ones the best first, of parts the largest
        rows = rows[np.lexsort((-scores[rows], np.where(cut[rows], -areas[rows], 0), cut[rows]))]
        patch, box = patches[rows[0]], boxes[rows[0]]
        if cut[rows[0]] and len(rows) > 1:  # otherwise the best view shows all of it
            patch = _assembled([patches[row] for row in rows], windows[rows])
            box = np.concatenate([boxes[rows, :2].min(axis=0), boxes[rows, 2:].max(axis=0)])
        merged.append((box, scores[rows].max(), classes[first], patch))
    merged.sort(key=lambda one: -one[1])
    columns = list(zip(*merged, strict=True)) or [(), (), (), ()]
    return (
        np.array(columns[0], np.float32).reshape(-1, 4),
        np.array(columns[1], np.float32),
        np.array(columns[2], np.int32),
        InstanceMasks(columns[3], masks.size),
    )


def _same(boxes, classes, patches, windows, seen_in, threshold):
    """The pairs (i, j) of masks of one object, the most similar first."""
    i, j = overlapping_pairs(boxes, boxes)
    wanted = (i < j) & (classes[i] == classes[j]) & (seen_in[i] != seen_in[j])
    pairs = []
    for one, other in zip(i[wanted].tolist(), j[wanted].tolist(), strict=True):
        extents = np.array([_extent(patches[number]) for number in (one, other)])
        low = np.maximum(np.maximum(windows[one, :2], windows[other, :2]), extents[:, :2].min(axis=0))
        high = np.minimum(np.minimum(windows[one, 2:], windows[other, 2:]), extents[:, 2:].max(axis=0))
        ours, theirs = (_window(patches[number], low, high) for number in (one, other))
        either = (ours | theirs).sum()
        if either and (similar := (ours & theirs).sum() / either) > threshold:
            pairs.append((similar, one, other))
    return [(one, other) for _, one, other in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:]))]


def _extent(patch):
    rows, columns = patch.pixels.shape
    return patch.left, patch.top, patch.left + columns, patch.top + rows


def _window(patch, low, high):
    """bool: a patch's pixels in the window x1, y1, x2, y2 of the image; nothing if that is empty."""
    (left, top), (right, bottom) = low, high
    pixels = np.zeros((max(bottom - top, 0), max(right - left, 0)), bool)
    rows, columns = patch.pixels.shape
    y1, y2 = (min(max(y, top), bottom) for y in (patch.top, patch.top + rows))
    x1, x2 = (min(max(x, left), right) for x in (patch.left, patch.left + columns))
    if y1 < y2 and x1 < x2:
        inner = patch.pixels[y1 - patch.top : y2 - patch.top, x1 - patch.left : x2 - patch.left]
        pixels[y1 - top : y2 - top, x1 - left : x2 - left] = inner
    return pixels


def _groups(pairs, seen_in):
    """int (N,): the number of the first mask of each mask's object."""
    group, views = np.arange(len(seen_in)), [{view} for view in seen_in.tolist()]
    for one, other in pairs:
        first, last = sorted((group[one], group[other]))
        if first != last and not views[first] & views[last]:
            group[group == last] = first
            views[first] |= views[last]
    return group


def _assembled(patches, windows):
    """One mask; each pixel is taken from the first of the patches whose window has it."""
    low = np.min([(patch.left, patch.top) for patch in patches], axis=0)
    high = np.max([np.add((patch.left, patch.top), patch.pixels.shape[::-1]) for patch in patches], axis=0)
    pixels, decided = np.zeros((high - low)[::-1], bool), np.zeros((high - low)[::-1], bool)
    for patch, window in zip(patches, windows, strict=True):
        x1, y1, x2, y2 = np.clip(window - np.tile(low, 2), 0, np.tile(high - low, 2))
        area = np.s_[y1:y2, x1:x2]
        pixels[area] |= _window(patch, (low[0] + x1, low[1] + y1), (low[0] + x2, low[1] + y2)) & ~decided[area]
        decided[area] = True
    return Patch(int(low[0]), int(low[1]), pixels.astype(np.uint8)).tight()
