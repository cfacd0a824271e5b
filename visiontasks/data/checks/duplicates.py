"""Finds images that show the same, also where one was encoded again, resized, or cropped a little.

The perceptual hash is the low frequencies of an image's thumbnail: those of a copy differ little. Images of one stain
or of one studio have similar ones too, but other middle frequencies. Each pair that is left is compared again: one
thumbnail is moved onto the other, and their fine details must agree.
"""

import collections
import itertools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from visiontasks.data.checks.findings import NOTE, WARNING, Finding
from visiontasks.data.checks.looking import THUMBNAIL, Seen
from visiontasks.data.scan import scan

LOW, MIDDLE = 8, 16  # frequencies across and down
ALIKE_LOW = 0.88  # the least cosine of low frequencies; that of a copy cropped by 2 % is above 0.9
ALIKE_MIDDLE = 0.3  # that of middle ones; of a copy cropped by 2 % it is above 0.5, of other images mostly below 0.2
AGREE = 0.8  # the least correlation of fine details; that of other images is below 0.7
FLAT = 2.0  # gray values: an image of less contrast has no details to compare
MOST_MOVED = 0.08  # of the image's width and height: more is no copy but another view
NEAR = 0.9  # of middle frequencies: pairs that are compared in any case
MOST_TRIES = 20  # comparisons of an image in vain: images of a fixed camera may all have similar hashes
_DETAIL = 2.0  # pixels of the thumbnail: details are what a blur of this width removes
_BLOCK = 2**23  # pairs of hashes that are compared at once: 64 MB, however many images there are
_SHOWN = 4  # images of a group that are named
_FEW = 512  # pairs whose details are compared at once


def duplicates(seen: dict[str, Sequence[Seen]]) -> list[Finding]:
    """Groups of images that show the same: within each split, and between them.

    Args:
        seen: by split.
    """
    images = [(split, one) for split, given in seen.items() for one in given]
    groups, unsure = _groups([one for _, one in images])
    groups = [group for group in groups if len(group) > 1]
    findings = []
    between = [group for group in groups if len({images[number][0] for number in group}) > 1]
    if between:
        leaked = [[images[n][1].name for n in group if images[n][0] != "train"] for group in between]
        findings.append(
            Finding(
                "duplicates_between",
                WARNING,
                f"{sum(map(len, leaked))} × validation image that is a copy of a training image, so the score promises "
                "too much for new images; move it to the training set, or remove it",
                sum(map(len, leaked)),
                [_named(_with_both(group, images), images) for group in between],
            )
        )
    for split in seen:
        within = [[n for n in group if images[n][0] == split] for group in groups]
        within = [group for group in within if len(group) > 1]
        if within:
            count = sum(len(group) - 1 for group in within)
            text = f"{count} × copy of another image in the same set; remove it, so that the image counts once"
            names = [_named(group, images) for group in within]
            findings.append(Finding("duplicates", WARNING, text, count, names, split))
    different = [group for group in groups if len({_labels_of(images[n][1]) for n in group}) > 1]
    if different:
        text = f"{len(different)} × copies with different labels; correct them, or remove all but one"
        names = [_named(group, images) for group in different]
        findings.append(Finding("duplicates_labels", WARNING, text, len(different), names))
    if unsure:
        text = f"{len(unsure)} × image that resembles so many others that it was not compared with all of them"
        names = [images[n][1].name for n in unsure]
        findings.append(Finding("duplicates_unsure", NOTE, text, len(unsure), names))
    return findings


def _with_both(group, images) -> list[int]:
    """A group with a training and a validation image first."""
    firsts = {images[number][0]: number for number in reversed(group)}
    return [*firsts.values(), *(number for number in group if number not in firsts.values())]


def _named(group, images) -> str:
    more = f" = … and {len(group) - _SHOWN} more" if len(group) > _SHOWN else ""
    return " = ".join(images[number][1].name for number in group[:_SHOWN]) + more


def _labels_of(one: Seen) -> tuple:
    """Of each label set the label and the tags of an image, for which a small crop does not matter."""
    return tuple((key, labels.get("label"), tuple(labels.get("tags", ()))) for key, labels in one.labels.items())


def _groups(seen: Sequence[Seen]) -> tuple[list[list[int]], list[int]]:
    """(the numbers of the images, those that show the same together; those that were not compared with all similar)."""
    leaders, groups = {}, list(range(len(seen)))
    tries, unsure = collections.Counter(), set()

    def group_of(number):
        while groups[number] != number:
            groups[number] = number = groups[groups[number]]
        return number

    def is_open(pair, near):
        if len({*map(group_of, pair)}) == 1:  # put into one group by other pairs
            return False
        if not near and max(tries[number] for number in pair) >= MOST_TRIES:
            unsure.update(pair)
            return False
        return True

    for number, one in enumerate(seen):
        groups[number] = leaders.setdefault(one.fingerprint, number)
    numbers = [n for n in leaders.values() if seen[n].contrast >= FLAT]
    pairs = (((numbers[i], numbers[j]), near) for i, j, near in _candidates([seen[n].thumbnail for n in numbers]))
    # a few at a time, so that what they tell is known of the next
    while few := list(itertools.islice((pair for pair, near in pairs if is_open(pair, near)), _FEW)):
        same = scan(lambda pair: alike(*(seen[n] for n in pair)), few, "Comparing images")
        for (i, j), joined in zip(few, same, strict=True):
            if joined:
                groups[group_of(j)] = group_of(i)
            else:
                tries.update((i, j))
    together = {}
    for number in range(len(seen)):
        together.setdefault(group_of(number), []).append(number)
    return list(together.values()), sorted(unsure)


def _candidates(thumbnails: Sequence[np.ndarray]) -> Iterator[tuple[int, int, bool]]:
    """The pairs of thumbnails (THUMBNAIL, THUMBNAIL) with similar hashes, and whether these are nearly equal."""
    low, middle = _hashes(thumbnails)
    step = max(1, _BLOCK // max(1, len(low)))
    for first in range(0, len(low), step):
        similar = low[first : first + step] @ low[first:].T >= ALIKE_LOW
        cosines = middle[first : first + step] @ middle[first:].T
        rows, columns = np.nonzero(np.triu(similar & (cosines >= ALIKE_MIDDLE), 1))
        near = cosines[rows, columns] >= NEAR
        yield from zip((first + rows).tolist(), (first + columns).tolist(), near.tolist(), strict=True)


def _hashes(thumbnails) -> tuple[np.ndarray, np.ndarray]:
    """The low frequencies of the cosine transform, without the mean, and the middle ones.

    Returns:
        float32 (N, LOW²) and (N, MIDDLE² - LOW²), each row of length 1.
    """
    centers = np.arange(THUMBNAIL) + 0.5
    waves = np.cos(np.pi / THUMBNAIL * np.arange(MIDDLE)[:, None] * centers).astype(np.float32)
    waves[0] /= np.sqrt(2)
    frequencies = np.zeros((len(thumbnails), MIDDLE, MIDDLE), np.float32)
    for number, thumbnail in enumerate(thumbnails):
        frequencies[number] = waves @ thumbnail.astype(np.float32) @ waves.T
    is_low = np.add.outer(np.arange(MIDDLE) >= LOW, np.arange(MIDDLE) >= LOW) == 0
    frequencies[:, 0, 0] = 0
    parts = frequencies[:, is_low], frequencies[:, ~is_low]
    return tuple(part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6) for part in parts)


def alike(one: Seen, other: Seen) -> bool:
    """Whether two images agree in their details, after one is moved onto the other."""
    if np.array_equal(one.thumbnail, other.thumbnail):
        return True
    gray, moved = (seen.thumbnail.astype(np.float32) for seen in (one, other))
    try:
        _, move = cv2.findTransformECC(
            gray, moved, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, (3, 20, 1e-4), None, 3
        )
    except cv2.error:  # nothing fits
        return False
    corners = np.float32([(x, y, 1) for x in (0, THUMBNAIL) for y in (0, THUMBNAIL)])
    if np.abs(corners @ move.T - corners[:, :2]).max() > MOST_MOVED * THUMBNAIL:
        return False
    # the thumbnail of an image that is smaller has no finer details than the image
    sigma = _DETAIL * max(1, min(4, THUMBNAIL / min(*one.size, *other.size)))
    inside = _moved(np.ones_like(gray), move) > 0.99
    inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False
    details = _details(gray, sigma)[inside], _moved(_details(moved, sigma), move)[inside]
    deviations = [np.std(part) for part in details]
    return min(deviations) > 0 and float(np.corrcoef(*details)[0, 1]) >= AGREE


def _details(gray, sigma):
    return gray - cv2.GaussianBlur(gray, (0, 0), sigma)


def _moved(gray, move):
    return cv2.warpAffine(gray, move, gray.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
