"""Keypoints in YOLO's layout: what a data.yaml says of them, and those in the rows of the label files."""

import dataclasses
from pathlib import Path

import numpy as np

from visiontasks.data.skeletons import skeleton_of
from visiontasks.errors import DataError
from visiontasks.skeleton import Skeleton


@dataclasses.dataclass(frozen=True)
class RowPoints:
    """The K keypoints at the end of each row: x and y, shares of the image, and with 3 `numbers` the visibility."""

    count: int
    numbers: int

    @property
    def columns(self) -> int:
        """Of a row: class, x, y, width, height and the keypoints."""
        return 5 + self.count * self.numbers

    def check(self, row: list[float], name: str):
        """Raise unless a row has these keypoints.

        Raises:
            DataError: another number of columns, or a visibility that is not 0, 1 or 2; the text begins with `name`.
        """
        if len(row) != self.columns:
            raise DataError(
                f"{name}: expected {self.columns} columns, class, x, y, width, height and {self.count} keypoints of "
                f"{self.numbers} numbers, as kpt_shape in the data.yaml says, got {len(row)} columns; correct "
                "kpt_shape, or write 0 for keypoints that are not labeled."
            )
        bad = [value for value in row[7::3] if value not in (0, 1, 2)] if self.numbers == 3 else []
        if bad:
            raise DataError(f"{name}: expected keypoint visibilities 0, 1 or 2, got {bad[0]:g}.")

    def of(self, row: list[float]) -> np.ndarray:
        """float32 (K, 3): the keypoints of a row. With two numbers (0, 0) is not labeled, the others are visible."""
        points = np.array(row[5:], np.float32).reshape(self.count, self.numbers)
        if self.numbers == 2:
            points = np.column_stack([points, 2 * points.any(axis=1)])
        return points


def row_points(content: dict, file: Path) -> RowPoints | None:
    """What `kpt_shape` says of the rows; None without it.

    Raises:
        DataError: it is not [number of keypoints, 2 or 3].
    """
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(number) is int for number in shape)
    if not whole or shape[0] < 1 or shape[1] not in (2, 3):
        raise DataError(f"{file}: expected kpt_shape: [number of keypoints, 2 or 3 numbers of each], got {shape!r}.")
    return RowPoints(*shape)


def skeleton_in(content: dict, count: int, file: Path, given: str | dict | None, report) -> Skeleton:
    """The Skeleton by `kpt_names`, `flip_idx` and `kpt_oks_sigmas` of a data.yaml, each of which may be missing.

    Args:
        content: of the data.yaml.
        count: of keypoints.
        file: the data.yaml.
        given: the recipe's, as for `skeleton_of`.
        report: gets the names of keypoints without an OKS sigma.

    Raises:
        DataError: one of the keys is wrong; the text names it.
    """
    stated = {"pairs": _pairs(content["flip_idx"], count, file)} if content.get("flip_idx") is not None else {}
    if content.get("kpt_oks_sigmas") is not None:
        stated["sigmas"] = content["kpt_oks_sigmas"]
    return skeleton_of(given, _names(content.get("kpt_names"), count, file), report, file, **stated)


def _pairs(flip, count, file) -> list[tuple[int, int]]:
    if not isinstance(flip, list) or not all(type(number) is int for number in flip):
        raise DataError(f"{file}: expected flip_idx, a list of {count} indices, got {str(flip)[:80]}.")
    if sorted(flip) != list(range(count)):
        raise DataError(f"{file}: expected flip_idx with each index from 0 to {count - 1} once, got {flip}.")
    if wrong := [number for number, other in enumerate(flip) if flip[other] != number]:
        one, other = wrong[0], flip[wrong[0]]
        raise DataError(
            f"{file}: expected flip_idx that gives each image back when it is mirrored twice, got {other} at index "
            f"{one}, but {flip[other]} at index {other}; write {one} there, if {one} and {other} are left and right."
        )
    return [(one, other) for one, other in enumerate(flip) if one < other]


def _names(written, count, file) -> list[str] | int:
    """The keypoints' names of all classes; their number if there are none."""
    if written is None:
        return count
    lists = list(written.values()) if isinstance(written, dict) else [written]
    if not lists or not all(isinstance(names, list) for names in lists):
        raise DataError(f"{file}: expected kpt_names: {{class: [names]}}, got {str(written)[:80]}.")
    lists = list(dict.fromkeys(tuple(map(str, names)) for names in lists))
    if len(lists) > 1:
        raise DataError(f"{file}: expected kpt_names with one list for all classes, got {len(lists)} different lists.")
    if len(lists[0]) != count:
        raise DataError(f"{file}: expected {count} kpt_names, as kpt_shape says, got {len(lists[0])}.")
    return list(lists[0])
