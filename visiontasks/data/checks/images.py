"""Looks for what is wrong with images themselves: unreadable ones, those of one color, and odd sizes."""

from collections.abc import Sequence

import numpy as np

from visiontasks.data.checks.findings import ERROR, NOTE, WARNING, Finding
from visiontasks.data.checks.looking import Seen
from visiontasks.data.report import Report

ONE_COLOR = 1.0  # gray values: the contrast of an image of one color, with the noise of its encoding
SMALLER = 8  # times smaller than the median image is odd
LONGEST = 4.0  # width over height, or height over width, from which an image is odd


def check_images(split: str, seen: Sequence[Seen]) -> list[Finding]:
    """What is wrong with the images of a split."""
    if not seen:
        text = "no image can be read; see what was skipped"
        return [Finding("no_images", ERROR, text, 1, split=split)]
    findings = []
    flat = [one.name for one in seen if one.contrast < ONE_COLOR]
    if flat:
        text = f"{len(flat)} × image of one color all over"
        findings.append(Finding("one_color", WARNING, text, len(flat), flat, split))
    sides = np.array([one.size for one in seen])
    small = np.flatnonzero(sides.min(axis=1) * SMALLER < np.median(sides.min(axis=1)))
    if len(small):
        text = f"{len(small)} × image more than {SMALLER} times smaller than most"
        findings.append(Finding("small_image", NOTE, text, len(small), [seen[n].name for n in small], split))
    long = np.flatnonzero(sides.max(axis=1) > LONGEST * sides.min(axis=1))
    if len(long):
        text = f"{len(long)} × image more than {LONGEST:g} times as long as it is wide, or as wide as it is long"
        findings.append(Finding("long_image", NOTE, text, len(long), [seen[n].name for n in long], split))
    return findings


def check_report(report: Report, split: str = "") -> list[Finding]:
    """What a source skipped (a warning), and what else it noted, one finding of each kind."""
    findings = []
    for what, names, skipped in report.items():
        kind, level = ("skipped", WARNING) if skipped else ("mended", NOTE)
        findings.append(Finding(kind, level, f"{len(names)} × {what}", len(names), names, split))
    return findings
