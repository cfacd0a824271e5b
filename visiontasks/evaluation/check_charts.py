"""Writes the charts of a `Checkup`, and a contact sheet of each class with its labels drawn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.checks.checkup import Checkup, boxes_of
from visiontasks.data.checks.page import TITLES
from visiontasks.data.images import write_image
from visiontasks.data.placing import place, placement_of
from visiontasks.data.scan import scan
from visiontasks.drawing.charts import write_chart
from visiontasks.drawing.data_charts import boxes_figure, classes_figure, sizes_figure
from visiontasks.drawing.panels import contact_sheet, side_by_side
from visiontasks.errors import BadImage
from visiontasks.evaluation.results import file_part
from visiontasks.registry import catalog
from visiontasks.sample import by_set
from visiontasks.skeleton import Skeleton
from visiontasks.writing import make_folder

CELLS, ACROSS = 9, 3  # images on a contact sheet, and in a row of it
MOST_SHEETS = 100  # of a field: of more classes, the first ones have a sheet
SIDE = 320  # pixels of an image's longer dimension on a sheet
_UNITS = {"mask": "pixels", "classes": "objects"}


def write_charts(checkup: Checkup, out: Path):
    """Write classes.png, sizes.png and boxes.png, and CLASS.png into a folder sheets, to a folder that exists."""
    seen = {TITLES[split]: images for split, images in checkup.seen.items()}
    sizes = {title: np.array([one.size for one in images]).reshape(-1, 2) for title, images in seen.items()}
    bright = {title: np.array([one.brightness for one in images]) for title, images in seen.items()}
    write_chart(out / "sizes.png", sizes_figure(sizes, bright), "out", dpi="figure")
    for field, names in checkup.names.items():
        label_set, _, kind = field.rpartition("/")
        ending = f"_{file_part(label_set)}" if label_set else ""
        ending += f"_{kind}" if len(checkup.names) > 1 else ""
        counted = {TITLES[split]: by_field[field] for split, by_field in checkup.counted.items()}
        figure = classes_figure(counted, names, field, _UNITS.get(kind, "images"))
        write_chart(out / f"classes{ending}.png", figure, "out", dpi="figure")
        _write_sheets(checkup, field, out / f"sheets{ending}")
    for label_set, given in by_set(checkup.fields).items():
        if "boxes" in given:
            found = {title: boxes_of(images, label_set) for title, images in seen.items()}
            boxes, numbers = ({title: one[part] for title, one in found.items()} for part in (0, 1))
            ending = f"_{file_part(label_set)}" if label_set else ""
            write_chart(out / f"boxes{ending}.png", boxes_figure(boxes, numbers, label_set), "out", dpi="figure")


def _write_sheets(checkup, field, folder):
    label_set, _, kind = field.rpartition("/")
    given = by_set(checkup.fields)[label_set]
    wanted = [*given.values()]
    names, source = checkup.names[field], checkup.sources["train"]
    skeleton = Skeleton.of(source.names[given["keypoints"]]) if "keypoints" in given else None
    task = catalog.task(_task_of(given, kind)).load()(names, label_set, skeleton)
    chosen = _images_with(checkup.seen["train"], label_set, kind, min(len(names), MOST_SHEETS))

    def draw(index):
        try:
            sample = source.read(index, wanted)
        except BadImage:  # it has changed since it was looked at
            return None
        height, width = sample.image.shape[:2]
        scale = SIDE / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        small = place(sample, placement_of(sample, size, "stretch"))
        return task.draw_truth(small.image, small.of(label_set))

    make_folder(folder, "out")
    for number, indices in enumerate(chosen):  # one at a time: a hundred of them would take 300 MB
        cells = [cell for cell in scan(draw, indices, "Drawing") if cell is not None]
        if cells:
            rows = [side_by_side(cells[start : start + ACROSS]) for start in range(0, len(cells), ACROSS)]
            write_image(folder / f"{file_part(names[number])}.png", contact_sheet(rows), "out")


def _task_of(given, kind) -> str:
    """The task that draws the labels of a field."""
    if kind == "classes":
        objects = {"keypoints": "pose", "instance_masks": "instances"}
        return next((task for field, task in objects.items() if field in given), "detection")
    return {"label": "classification", "tags": "tagging", "mask": "segmentation"}[kind]


def _images_with(seen, label_set, kind, count) -> list[list[int]]:
    """The numbers of images with each of the first `count` classes: CELLS of them, from all over the split."""
    found = [[] for _ in range(count)]
    for one in seen:
        for number in _classes_of(one.of(label_set).get(kind), kind):
            if 0 <= number < count:
                found[number].append(one.index)
    return [[some[place] for place in _spread(len(some))] for some in found]


def _classes_of(value, kind) -> Sequence[int]:
    """The classes in a label, in tags, in objects, or in the pixels of a mask by class."""
    if value is None:
        return []
    if kind == "label":
        return [value]
    return np.unique(value) if kind == "classes" else np.flatnonzero(value > 0)


def _spread(count) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(CELLS, count)).round().astype(int))
