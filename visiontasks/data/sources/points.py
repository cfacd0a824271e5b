"""Tables of points as DeepLabCut and lightning-pose write them: a row per image, columns of x and y per keypoint."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.arguments import NonNegative, Pixels
from visiontasks.data.finding import Finder
from visiontasks.data.images import MAX_PIXELS, image_size
from visiontasks.data.listing import files_like
from visiontasks.data.objects import Objects, usable_boxes, usable_points
from visiontasks.data.skeletons import skeleton_of
from visiontasks.data.sources.source import ObjectFiles
from visiontasks.data.table import Rows, read_table
from visiontasks.data.table_splits import split_tables
from visiontasks.data.yaml_file import read_yaml
from visiontasks.errors import DataError
from visiontasks.ops.numpy_keypoints import boxes_around

_TABLES = "labeled-data/*/CollectedData*.csv"
_LEAST = 4.0  # pixels around the points: a single point has no extent
_HEADER = ("scorer", "individuals", "bodyparts", "coords")
_SINGLE = "single"  # DeepLabCut's individual for points that no animal has, such as a corner of the arena


class Points(ObjectFiles):
    """Tables of points of DeepLabCut and lightning-pose; gives `boxes`, `classes`, `keypoints`, `tags` and `label`.

    A table begins with the rows scorer, bodyparts and coords, or, with several animals in an image, scorer,
    individuals, bodyparts and coords. The first column, or the first three, is the image; then come x and y of each
    keypoint, in pixels, and maybe a likelihood, which is not used. A point without numbers is not labeled, the others
    are visible. An animal is an object; its box is the extent of its points and a margin. A row without a point is an
    image without objects, which is reported.

    Args:
        path: a table, or the folder of a project: all its tables labeled-data/*/CollectedData*.csv are read together.
        root: the folder that the table's file names are relative to, with all of their folders or the last ones; by
            default the project's folder, or the table's.
        class_name: of the animals; by default the only one of `names`, or "animal".
        names: the classes in order, `class_name` among them; by default it alone. The others are not `known`.
        margin: of a box around its points, as a share of the longer side of their extent; at least 4 pixels.
        max_pixels: larger images are skipped.
        skeleton: of the keypoints: a mapping with any of keypoints (names), limbs, pairs (left, right) and sigmas (of
            OKS), or a YAML file with one. By default the table's names, limbs of a config.yaml in the project's folder
            (its `skeleton`), and pairs by names such as leftear.

    Raises:
        DataError: no table, another header, a row of another length or without numbers, an image with two different
            rows, tables with different keypoints, no image, or no object; the text names the file and the line.
    """

    LAYOUT = "a table of points of DeepLabCut: DIR/labeled-data/*/CollectedData_*.csv, or DIR/*.csv with such a header"
    fields = ObjectFiles.fields | {"keypoints"}

    def __init__(
        self,
        path: str,
        root: str | None = None,
        class_name: str | None = None,
        names: Sequence[str] | None = None,
        margin: NonNegative = 0.15,
        max_pixels: Pixels = MAX_PIXELS,
        skeleton: str | dict | None = None,
    ):
        super().__init__()
        self.path, self.margin, self.max_pixels = Path(path), margin, max_pixels
        files = _tables(self.path)
        project = _project(self.path)
        self.root = project if root is None else Path(root)
        if class_name is None:
            class_name = names[0] if names and len(names) == 1 else "animal"
        self.name_classes([class_name] if names is None else names, [class_name])
        self._number = self.number_of(class_name, self.path)
        tables = [_Table(file, self.report) for file in files]
        parts = tables[0].parts
        for table in tables:
            if set(table.parts) != set(parts):
                raise DataError(
                    f"{table.path}: expected the keypoints of {tables[0].path}, {', '.join(parts)}, got "
                    f"{', '.join(table.parts)}; read these tables as two sources."
                )
        limbs = _limbs(project / "config.yaml", parts, self.report)
        self.names["keypoints"] = skeleton_of(skeleton, parts, self.report, self.path, limbs=limbs)
        self._read(tables, parts)

    def _read(self, tables, parts):
        images = {}
        finder = Finder(self.root, self.report)
        for table in tables:
            for line, name, points in table.rows(parts):
                where = f"{table.path}, line {line}"
                path = finder.find(name, where)
                if path in images and not np.array_equal(points, images[path][1], equal_nan=True):
                    raise DataError(
                        f"{where}: expected each image once, got {path} in {images[path][0]} with other points; remove "
                        "one of the rows."
                    )
                if path is not None:
                    images.setdefault(path, (where, points))
        if not images:
            raise finder.none_found(self.path, [name for table in tables for _, name, _ in table.rows(parts)])
        self.items = []
        for (path, (where, points)), size in self.readable(
            lambda item: image_size(item[0], self.max_pixels), list(images.items())
        ):
            self.items.append((path, self._objects(points, size, where)))
        self.check_objects(self.path, "rows with points")

    def _objects(self, points, size, where) -> Objects:
        points = np.concatenate([points, 2.0 * np.isfinite(points).all(axis=-1, keepdims=True)], axis=-1)
        points = usable_points(points, size, [where] * len(points), self.report)
        points = points[(points[..., 2] > 0).any(axis=1)]
        if not len(points):
            self.report.noted("row without a labeled point, used as an image without objects", where)
        boxes = boxes_around(points, points[..., 2] > 0)
        margins = np.maximum(self.margin * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True), _LEAST)
        boxes = np.clip(boxes + np.concatenate([-margins] * 2 + [margins] * 2, axis=1), 0, [*size[::-1]] * 2)
        boxes, kept = usable_boxes(boxes, size, [where] * len(boxes), self.report)
        numbers = np.full(len(kept), self._number, np.int32)
        return Objects(boxes, numbers, np.zeros(len(kept), bool), keypoints=points[kept])

    @classmethod
    def recognize(cls, root):
        if any(map(_is_table, files_like(root, _TABLES))):
            return {"train": {"path": str(root)}}
        single = root / "CollectedData.csv"  # lightning-pose has other tables beside it, such as those of new videos
        tables = {"train": single} if single.is_file() else split_tables(root, lambda path: True)
        if not isinstance(tables, dict) or not tables or not all(map(_is_table, tables.values())):
            return None
        return {split: {"path": str(table)} for split, table in tables.items()}


class _Table:
    """A table: the `parts`, names of its keypoints, and its rows.

    Raises:
        DataError: its first rows are not those of DeepLabCut.
    """

    def __init__(self, path: Path, report):
        self.path = path
        header, rows = read_table(path, None)
        rows = [(1, header), *rows]
        kinds = [cells[0].strip().lower() for _, cells in rows[:4]]
        last = kinds.index("coords") if "coords" in kinds else 0
        if kinds[: last + 1] not in ([_HEADER[0], *_HEADER[2:]], list(_HEADER)):
            raise DataError(
                f"{path}: expected the first rows scorer, bodyparts, coords, or scorer, individuals, bodyparts, "
                f"coords, as DeepLabCut writes them, got rows that begin with {', '.join(kinds)}."
            )
        self._rows: Rows = rows[last + 1 :]
        written = [[cell.strip() for cell in cells] for _, cells in rows[: last + 1]]
        coords = [cell.lower() for cell in written[-1]]
        if not {"x", "y"} <= set(coords) or not set(coords[1:]) <= {"", "x", "y", "likelihood"}:
            raise DataError(f"{path}: expected columns x, y and maybe likelihood, got {', '.join(written[-1])[:80]}.")
        if "likelihood" in coords:
            report.noted("table with likelihoods, which are not used", str(path))
        self._lead = min(coords.index("x"), coords.index("y"))
        individuals = written[1] if len(written) == 4 else [""] * len(coords)
        keys = list(zip(individuals, written[-2], coords, strict=True))[self._lead :]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise DataError(f"{path}: expected each keypoint's columns once, got {' '.join(twice).strip()} twice.")
        self._columns = {key: self._lead + number for number, key in enumerate(keys)}
        self._individuals = list(dict.fromkeys(key[0] for key in keys))
        if len(self._individuals) > 1 and _SINGLE in self._individuals:
            self._individuals.remove(_SINGLE)
            report.skipped("table with points of no individual (single), left out", str(path))
        shown = [key for key in keys if key[0] in self._individuals and key[2] != "likelihood"]
        self.parts = tuple(dict.fromkeys(key[1] for key in shown))
        for individual, part, axis in shown:
            if (individual, part, "y" if axis == "x" else "x") not in self._columns:
                raise DataError(f"{path}: expected columns x and y of {part}, got {axis} alone.")

    def rows(self, parts: Sequence[str]):
        """(line, image's name, float64 (N, K, 2): its animals' points, NaN if not labeled) of each row."""
        names = ["/".join(filter(None, map(str.strip, cells[: self._lead]))) for _, cells in self._rows]
        columns = [
            [[self._columns.get((one, part, axis)) for axis in "xy"] for part in parts] for one in self._individuals
        ]
        for (line, cells), name in zip(self._rows, names, strict=True):
            points = [[[self._number(cells, at, line) for at in pair] for pair in each] for each in columns]
            yield line, name, np.array(points, np.float64)

    def _number(self, cells, column, line) -> float:
        text = "" if column is None else cells[column].strip()
        try:
            return float(text) if text else math.nan
        except ValueError:
            raise DataError(
                f"{self.path}, line {line}: expected a number, or nothing for a point without a label, got {text!r}."
            ) from None


def _tables(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = files_like(path, _TABLES)
    if not files:
        raise DataError(f"expected a table, or a folder with tables {_TABLES}, got {path}.", "path")
    return files


def _project(path: Path) -> Path:
    """The folder in which a project's config.yaml lies."""
    if path.is_dir():
        return path
    return path.resolve().parents[2] if path.resolve().parent.parent.name == "labeled-data" else path.parent


def _limbs(file: Path, parts, report) -> list[tuple[str, str]]:
    """The pairs of keypoints that a config.yaml has as `skeleton`; none without such a file."""
    if not file.is_file():
        return []
    try:
        content = read_yaml(file, "a config.yaml", "path")
    except DataError:
        report.noted("config.yaml that cannot be read, its limbs are not used", str(file))
        return []
    written = content.get("skeleton") if isinstance(content, dict) else None
    written = written if isinstance(written, list) else []
    pairs = [tuple(pair) for pair in written if isinstance(pair, list) and len(pair) == 2 and pair[0] != pair[1]]
    kept = [pair for pair in pairs if all(isinstance(end, str) and end in parts for end in pair)]
    if len(kept) < len(written):
        report.noted("limb that is no pair of keypoints, left out", str(file))
    return kept


def _is_table(path: Path) -> bool:
    try:
        _, rows = read_table(path, None)
    except DataError:
        return False
    return "coords" in [cells[0].strip().lower() for _, cells in rows[:3]]
