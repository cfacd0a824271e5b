"""Finds images that show the same, also where one was encoded again, resized, or cropped a little.

The perceptual hash is the low frequencies of an image's thumbnail: those of a copy differ little. Images of one stain
or of one studio have similar ones too, so each pair of candidates is compared again: one thumbnail is moved onto the
other, and their fine details must agree.
"""

import itertools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from visiontasks.data.checks.findings import WARNING, Finding
from visiontasks.data.checks.looking import THUMBNAIL, Seen
from visiontasks.data.scan import scan

FREQUENCIES = 8  # across and down
CANDIDATES = 0.88  # the least cosine of two hashes; that of a copy cropped by 2 % is above 0.9
AGREE = 0.8  # the least correlation of fine details; that of other images is below 0.7
FLAT = 2.0  # gray values: an image of less contrast has no details to compare
MOST_MOVED = 0.08  # of the image's width and height: more is no copy but another view
_DETAIL = 2.0  # pixels of the thumbnail: details are what a blur of this width removes
_BLOCK = 2**24  # pairs of hashes that are compared at once: 64 MB, however many images there are
_SHOWN = 4  # images of a group that are named
_FEW = 512  # pairs whose details are compared at once


def duplicates(seen: dict[str, Sequence[Seen]]) -> list[Finding]:
    """Groups of images that show the same: within each split, and between them.

    Args:
        seen: by split.
    """
    images = [(split, one) for split, given in seen.items() for one in given]
    groups = [group for group in _groups([one for _, one in images]) if len(group) > 1]
    findings = []
    between = [group for group in groups if len({images[number][0] for number in group}) > 1]
    if between:
        leaked = [[images[n][1].name for n in group if images[n][0] != "train"] for group in between]
        findings.append(
            Finding(
                "duplicates_between",
                WARNING,
                f"{sum(map(len, leaked))} × validation image that shows what a training image shows, so its score does "
                "not hold for new images; move it, or remove it",
                sum(map(len, leaked)),
                [_named(_with_both(group, images), images) for group in between],
            )
        )
    for split in seen:
        within = [[n for n in group if images[n][0] == split] for group in groups]
        within = [group for group in within if len(group) > 1]
        if within:
            count = sum(len(group) - 1 for group in within)
            text = f"{count} × copy of another image in the same set, which counts more than once"
            names = [_named(group, images) for group in within]
            findings.append(Finding("duplicates", WARNING, text, count, names, split))
    different = [group for group in groups if len({_labels_of(images[n][1]) for n in group}) > 1]
    if different:
        text = f"{len(different)} × copies with different labels; correct them, or remove all but one"
        names = [_named(group, images) for group in different]
        findings.append(Finding("duplicates_labels", WARNING, text, len(different), names))
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


def _groups(seen: Sequence[Seen]) -> list[list[int]]:
    """The numbers of the images, those that show the same together."""
    leaders, groups = {}, list(range(len(seen)))

    def group_of(number):
        while groups[number] != number:
            groups[number] = number = groups[groups[number]]
        return number

    for number, one in enumerate(seen):
        groups[number] = leaders.setdefault(one.fingerprint, number)
    numbers = [n for n in leaders.values() if seen[n].contrast >= FLAT]
    pairs = _candidates(np.array([seen[n].thumbnail for n in numbers]))
    pairs = ((numbers[i], numbers[j]) for i, j in pairs)
    # a few at a time: pairs that the ones before have put into one group need no comparison
    while few := list(itertools.islice((pair for pair in pairs if len({*map(group_of, pair)}) > 1), _FEW)):
        same = scan(lambda pair: alike(*(seen[n] for n in pair)), few, "Comparing images")
        for (i, j), joined in zip(few, same, strict=True):
            if joined:
                groups[group_of(j)] = group_of(i)
    together = {}
    for number in range(len(seen)):
        together.setdefault(group_of(number), []).append(number)
    return list(together.values())


def _candidates(thumbnails) -> Iterator[tuple[int, int]]:
    """The pairs of thumbnails (N, THUMBNAIL, THUMBNAIL) with similar hashes."""
    hashes = _hashes(thumbnails)
    step = max(1, _BLOCK // max(1, len(hashes)))
    for first in range(0, len(hashes), step):
        rows, columns = np.nonzero(hashes[first : first + step] @ hashes[first:].T >= CANDIDATES)
        ordered = rows < columns
        yield from zip((first + rows[ordered]).tolist(), (first + columns[ordered]).tolist(), strict=True)


def _hashes(thumbnails) -> np.ndarray:
    """float32 (N, FREQUENCIES²): the low frequencies of the cosine transform, without the mean, of length 1."""
    centers = np.arange(THUMBNAIL) + 0.5
    waves = np.cos(np.pi / THUMBNAIL * np.arange(FREQUENCIES)[:, None] * centers).astype(np.float32)
    waves[0] /= np.sqrt(2)
    hashes = np.zeros((len(thumbnails), FREQUENCIES**2), np.float32)
    for number, thumbnail in enumerate(thumbnails):
        hashes[number] = (waves @ thumbnail.astype(np.float32) @ waves.T).ravel()
    hashes[:, 0] = 0
    return hashes / np.maximum(np.linalg.norm(hashes, axis=1, keepdims=True), 1e-6)


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
