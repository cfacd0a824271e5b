"""Assembles people of the peaks of all their points, by the scores of the limbs between them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from visiontasks.skeleton import Skeleton

FEWEST = 3  # points of a person


@dataclasses.dataclass(eq=False)
class _Person:
    """`parts`: the number of the peak of each point; `total`: scores of the peaks and of the limbs that join them."""

    parts: dict[int, int]
    total: float


def assemble(
    peaks: np.ndarray,
    scores: np.ndarray,
    limbs: Sequence[tuple[int, int]],
    *,
    extra_limbs: Sequence[int] = (),
    least_parts: int = FEWEST,
    least_score: float = 0.2,
) -> tuple[np.ndarray, np.ndarray]:
    """The people of one image: greedy matching limb by limb (Cao et al. 2017, https://arxiv.org/abs/1611.08050, 2.4).

    Of each limb the pairs of peaks are taken by falling score, each peak once. Then, limb after limb, each pair joins
    what its two peaks belong to, if these have no point in common; so a peak is part of one person at most.

    Args:
        peaks: float (K, P, 3) x, y, score; a peak with a score of 0 or less is missing.
        scores: float (L, P, P) of the limbs from peak a to peak b; 0 or less: no limb.
        limbs: L pairs of points (from, to), the most reliable first. If they form a tree, list a limb after those that
            lead to it.
        extra_limbs: numbers of the limbs that add points to people, and join people, but never start one.
        least_parts: people with fewer points are left out; 1 keeps single peaks.
        least_score: so are people with a lower score.

    Returns:
        the people, best first: float32 (M, K, 3) x, y, score of each point, 0 where it is absent; and float32 (M,), a
        person's score, the sum of its peaks' scores and of those of the limbs that join them, divided by the number of
        points. The limbs count, so it may exceed 1.

    Raises:
        ValueError: the scores do not fit the peaks and limbs.
    """
    peaks, limbs = np.asarray(peaks, np.float32), np.asarray(limbs, np.int64).reshape(-1, 2)
    expected = (len(limbs), peaks.shape[1], peaks.shape[1])
    if scores.shape != expected:
        raise ValueError(f"scores: expected {expected}, for {len(limbs)} limbs; got {scores.shape}.")
    present, owners = peaks[..., 2] > 0, [{} for _ in peaks]
    for part, number in np.argwhere(present).tolist():
        owners[part][number] = _Person({part: number}, float(peaks[part, number, 2]))
    usable = present[limbs[:, 0], :, None] & present[limbs[:, 1], None, :] & (scores > 0)
    for limb, start, end, score in _matched(np.where(usable, scores, 0)):
        first, second = limbs[limb].tolist()
        one, other = owners[first][start], owners[second][end]
        alone = len(one.parts) == len(other.parts) == 1
        if one.parts.keys() & other.parts.keys() or (alone and limb in extra_limbs):
            continue
        one.parts |= other.parts
        one.total += other.total + score
        for part, number in other.parts.items():
            owners[part][number] = one
    people = {id(person): person for part in owners for person in part.values() if len(person.parts) >= least_parts}
    kept = [(person.total / len(person.parts), person) for person in people.values()]
    kept = sorted((one for one in kept if one[0] >= least_score), key=lambda one: -one[0])
    keypoints = np.zeros((len(kept), len(peaks), 3), np.float32)
    for row, (_, person) in zip(keypoints, kept, strict=True):
        parts = list(person.parts)
        row[parts] = peaks[parts, list(person.parts.values())]
    return keypoints, np.array([score for score, _ in kept], np.float32)


def people_of(peaks: np.ndarray, limb_scores: np.ndarray, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """The people of one image, as a task takes detections: those that `assemble` finds, all of class 0.

    A person's score is the mean of the scores of all K points, 0 for those that were not found: so one of whom more was
    found ranks higher. The box is that around the pixels of the points that were found.

    Args:
        peaks: float (K, P, 3) x, y in pixels, score; or (K + 1, P, 3) with the neck of `Skeleton.with_neck`.
        limb_scores: float (L, P, P), of the limbs in the order of `Skeleton.assembly`.
        skeleton: of K keypoints.

    Returns:
        {"boxes": float32 (M, 4), "scores": float32 (M,) in 0..1, "classes": int32 (M,), "valid": bool (M,),
        "keypoints": float32 (M, K, 3) x, y, score, 0 where it is absent}.
    """
    peaks, count = np.asarray(peaks, np.float32), len(skeleton)
    limbs, extra = (skeleton if len(peaks) == count else skeleton.with_neck()).assembly()
    points, _ = assemble(peaks, np.asarray(limb_scores), limbs, extra_limbs=extra, least_parts=min(FEWEST, len(peaks)))
    points = points[:, :count]
    points = points[points[..., 2].any(axis=1)]
    absent = points[..., 2:] == 0
    low = np.where(absent, np.inf, points[..., :2] - 0.5).min(axis=1, initial=np.inf)
    high = np.where(absent, -np.inf, points[..., :2] + 0.5).max(axis=1, initial=-np.inf)
    points[..., 2] = points[..., 2].clip(0, 1)
    return {
        "boxes": np.concatenate([low, high], axis=1),
        "scores": points[..., 2].mean(axis=1),
        "classes": np.zeros(len(points), np.int32),
        "valid": np.ones(len(points), bool),
        "keypoints": points,
    }


def _matched(scores):
    """(limb, a, b, score) of greedy matching: limb by limb, by falling score; 0 is no pair.

    A pair that is the best of both its peaks is what the greedy rule takes, whatever else is taken. Taking all of them
    at once, again and again, is the same, and few rounds are needed.
    """
    left, taken = scores.copy(), []
    while left.size and left.any():
        # of equal scores the first counts, in rows and columns alike: so there is always such a pair
        ends, starts = left.argmax(axis=2), left.argmax(axis=1)
        limb, start = np.nonzero(np.take_along_axis(starts, ends, axis=1) == np.arange(left.shape[1]))
        end = ends[limb, start]
        real = left[limb, start, end] > 0
        limb, start, end = limb[real], start[real], end[real]
        taken += zip(limb.tolist(), start.tolist(), end.tolist(), left[limb, start, end].tolist(), strict=True)
        left[limb, start], left[limb, :, end] = 0, 0
    return sorted(taken, key=lambda pair: (pair[0], -pair[3], *pair[1:3]))
