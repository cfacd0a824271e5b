"""Merges the masks of several views of one image, so that each object has one mask."""

import dataclasses

import cv2
import numpy as np

from visiontasks.inference.merging import cut_edges, overlapping_pairs
from visiontasks.instance_masks import InstanceMasks
from visiontasks.mask_shapes import Patch

MARGIN = 3  # pixels by which the edges of two masks of one object may differ: at a seam, all that a sliver has


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
    threshold, the most similar first. So are a mask and a part of it: one that its view's edge cuts, where the other
    view shows more, and of which a larger share than the threshold lies in the other mask, grown by 3 pixels.

    An object has one mask of each view, or several parts that lie in one mask of another view, as the arms of a U.
    Parts that only repeat what another object shows are left out, and so are masks without pixels.

    An object keeps the mask of the view that shows it whole. Of one that every view cuts, each pixel is taken from the
    view that shows most of the object among those that show the pixel.

    Args:
        boxes: float (N, 4) x1, y1, x2, y2 in the image's pixels.
        scores, classes: (N,).
        masks: N masks on the image.
        windows: int (N, 4) x1, y1, x2, y2, the window of each mask's view.
        seen_in: integers (N,), the view's index; a window and its mirror image are two views.
        threshold: see above, at least 0.

    Returns:
        the merged boxes, scores, classes and masks, best first.
    """
    # an empty mask is like no other: each view would add its own
    rows = np.flatnonzero(masks.areas() > 0)
    boxes, scores, classes, windows, seen_in = (a[rows] for a in (boxes, scores, classes, windows, seen_in))
    patches = [masks.patch(number) for number in rows.tolist()]
    edges = cut_edges(boxes, windows, masks.size)
    links = _links(boxes, classes, patches, windows, seen_in, edges, threshold)
    merged, kept, areas = [], set(), np.array([np.count_nonzero(patch.pixels) for patch in patches])
    # the largest first, so that of two that repeat each other one stays
    for members in sorted(_groups(links, seen_in), key=lambda group: (-areas[list(group)].max(), min(group))):
        if all(links.repeats[number] & kept for number in members):
            continue
        kept |= members
        rows = np.array(sorted(members))
        whole = rows[~edges[rows].any(axis=1)]
        if len(whole):
            best = whole[np.argmax(scores[whole])]
            patch, box = patches[best], boxes[best]
        elif len(rows) == 1:
            patch, box = patches[rows[0]], boxes[rows[0]]
        else:
            patch = _assembled([patches[row] for row in rows], windows[rows], seen_in[rows])
            box = np.concatenate([boxes[rows, :2].min(axis=0), boxes[rows, 2:].max(axis=0)])
        merged.append((box, scores[rows].max(), classes[rows[0]], patch))
    merged.sort(key=lambda one: -one[1])
    columns = list(zip(*merged, strict=True)) or [(), (), (), ()]
    return (
        np.array(columns[0], np.float32).reshape(-1, 4),
        np.array(columns[1], np.float32),
        np.array(columns[2], np.int32),
        InstanceMasks(columns[3], masks.size),
    )


@dataclasses.dataclass(frozen=True)
class _Links:
    """What masks of different views have to do with each other.

    Attributes:
        pairs: [(i, j)] of masks that may be one object, the most similar first.
        parts_of: of each mask, those that it is a part of: they show more of the object, and most of it.
        repeats: of each mask, those that show most of it, beyond the area that both views show too; but for the margin.
    """

    pairs: list[tuple[int, int]]
    parts_of: list[set[int]]
    repeats: list[set[int]]


def _links(boxes, classes, patches, windows, seen_in, edges, threshold):
    i, j = overlapping_pairs(boxes + np.array([-MARGIN, -MARGIN, MARGIN, MARGIN]), boxes)
    wanted = (i < j) & (classes[i] == classes[j]) & (seen_in[i] != seen_in[j])
    found, links = [], _Links([], [set() for _ in patches], [set() for _ in patches])
    for pair in zip(i[wanted].tolist(), j[wanted].tolist(), strict=True):
        extents = np.array([patches[number].extent for number in pair])
        low = np.maximum(windows[pair, :2].max(axis=0), extents[:, :2].min(axis=0))
        high = np.minimum(windows[pair, 2:].min(axis=0), extents[:, 2:].max(axis=0))
        seen = [_window(patches[number], low, high) for number in pair]
        areas, common = [pixels.sum() for pixels in seen], (seen[0] & seen[1]).sum()
        similar = common / max(sum(areas) - common, 1)
        linked, near = similar > threshold, 0.0
        for part, whole, area, pixels in zip(pair, pair[::-1], areas, seen, strict=True):
            more = np.concatenate([windows[whole, :2] < windows[part, :2], windows[whole, 2:] > windows[part, 2:]])
            if not area or not (edges[part] & more).any():
                continue
            # what is no thicker than the margin may be a neighbor's mask that is too large
            if common > threshold * area and min(Patch(0, 0, pixels).tight().pixels.shape) > MARGIN:
                links.parts_of[part].add(whole)
            inside = _near(patches[part], patches[whole], low, high)
            near = max(near, inside / area)
            linked |= inside > threshold * area
            if inside > threshold * patches[part].pixels.sum():
                links.repeats[part].add(whole)
        if linked:
            found.append((-similar, -near, *pair))
    links.pairs.extend(tuple(one[2:]) for one in sorted(found))
    return links


def _near(part, whole, low, high):
    """The number of a part's pixels in the window that lie in the whole mask or at most MARGIN beside it."""
    square = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)
    grown = cv2.dilate(_window(whole, low - MARGIN, high + MARGIN).astype(np.uint8), square)
    return (_window(part, low, high) & (grown[MARGIN:-MARGIN, MARGIN:-MARGIN] > 0)).sum()


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


def _groups(links, seen_in) -> list[set[int]]:
    """The numbers of each object's masks."""
    groups = [{number} for number in range(len(seen_in))]

    def fits(ours, theirs):
        """Whether the masks of one view, one of each group, are parts of one object."""
        views = {}
        for number in ours:
            views.setdefault(seen_in[number], []).append(number)
        pairs = [(one, other) for other in theirs for one in views.get(seen_in[other], ())]
        both = ours | theirs
        parts = [(links.parts_of[one] & both, links.parts_of[other] & both) for one, other in pairs]
        return not parts or all(map(all, parts)) and any(one & other for one, other in parts)

    pairs, left = links.pairs, None
    while left != pairs:  # what does not fit may fit when more is joined
        pairs, left = [pair for pair in pairs if groups[pair[0]] is not groups[pair[1]]], pairs
        for one, other in pairs:
            ours, theirs = groups[one], groups[other]
            if ours is not theirs and fits(ours, theirs):
                ours |= theirs
                for number in theirs:
                    groups[number] = ours
    return list({id(group): group for group in groups}.values())


def _assembled(patches, windows, seen_in):
    """One mask; each pixel is taken from the view that shows most of the object among those whose window has it."""
    extents = np.array([patch.extent for patch in patches])
    low, high = extents[:, :2].min(axis=0), extents[:, 2:].max(axis=0)
    views = {}
    for patch, window, view in zip(patches, windows, seen_in.tolist(), strict=True):
        x1, y1, x2, y2 = np.clip(window - np.tile(low, 2), 0, np.tile(high - low, 2))
        pixels = _window(patch, (low[0] + x1, low[1] + y1), (low[0] + x2, low[1] + y2))
        views[view] = np.s_[y1:y2, x1:x2], pixels | views[view][1] if view in views else pixels
    pixels, decided = np.zeros((high - low)[::-1], bool), np.zeros((high - low)[::-1], bool)
    for area, seen in sorted(views.values(), key=lambda view: -view[1].sum()):
        pixels[area] |= seen & ~decided[area]
        decided[area] = True
    return Patch(int(low[0]), int(low[1]), pixels.astype(np.uint8)).tight()
