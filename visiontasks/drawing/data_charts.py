"""Draws charts of a data set: how often classes occur, how large images and boxes are, and where boxes lie."""

from collections.abc import Mapping, Sequence

import numpy as np

from visiontasks.drawing.charts import short
from visiontasks.drawing.fonts import font_file

MOST_BARS = 60
INKS = ("#0072b2", "#e69f00")
_BINS = 30


def classes_figure(counted: Mapping[str, np.ndarray], names: Sequence[str], title: str, unit: str):
    """A matplotlib Figure of how often each class occurs, a bar for each split, the most frequent first.

    Args:
        counted: {split: int (C,)}, at most two.
        names: of the C classes; of more than 60, the 60 most frequent ones are shown.
        title: the field.
        unit: what was counted.
    """
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive
    from matplotlib.font_manager import FontProperties

    order = np.argsort(-sum(counted.values()), kind="stable")
    if len(order) > MOST_BARS:
        title += f"; the {MOST_BARS} most frequent of {len(order)} classes"
        order = order[:MOST_BARS]
    figure = Figure(figsize=(8, 1.6 + 0.26 * len(order)), dpi=120, layout="constrained")
    axes, height = figure.add_subplot(), 0.8 / len(counted)
    for row, (split, number) in enumerate(counted.items()):
        bars = axes.barh(np.arange(len(order)) + row * height, number[order], height, color=INKS[row], label=split)
        axes.bar_label(bars, [str(count) for count in number[order]], padding=2, fontsize=6)
    labels = [short(names[number]) for number in order]
    axes.set_yticks(np.arange(len(order)) + 0.4 - height / 2, labels, parse_math=False)
    for label in axes.get_yticklabels():
        label.set_fontproperties(FontProperties(fname=font_file(label.get_text()), size=8))
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set(xlabel=unit)
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.legend(fontsize=8)
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    return figure


def sizes_figure(sizes: Mapping[str, np.ndarray], brightness: Mapping[str, np.ndarray]):
    """A matplotlib Figure of the images' widths and heights, and of their brightness.

    Args:
        sizes: {split: int (N, 2)}, height and width.
        brightness: {split: float (N,)}, 0..255.
    """
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive

    figure = Figure(figsize=(9, 4), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    for ink, split in zip(INKS, sizes, strict=False):
        left.scatter(sizes[split][:, 1], sizes[split][:, 0], s=8, alpha=0.4, color=ink, label=split)
        right.hist(brightness[split], np.linspace(0, 255, _BINS + 1), color=ink, alpha=0.6, label=split)
    left.set(xlabel="width, pixels", ylabel="height, pixels", xlim=(0, None), ylim=(0, None))
    right.set(xlabel="mean brightness, 0..255", ylabel="images")
    for axes in (left, right):
        axes.legend(fontsize=8)
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    return figure


def boxes_figure(boxes: Mapping[str, np.ndarray], numbers: Mapping[str, np.ndarray], title: str):
    """A matplotlib Figure of the boxes: how large they are, where they lie, and how many an image has.

    Args:
        boxes: {split: float (N, 4)}, x1, y1, x2, y2 as shares of the image.
        numbers: {split: int (M,)}, how many boxes each image has.
        title: the label set's.
    """
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive

    figure = Figure(figsize=(12, 4), dpi=120, layout="constrained")
    sized, placed, counted = figure.subplots(1, 3)
    most = max((int(number.max(initial=0)) for number in numbers.values()), default=0)
    step = -(-(most + 1) // _BINS)  # whole numbers, so that no bin has more of them than another
    for ink, split in zip(INKS, boxes, strict=False):
        sizes = np.sqrt(np.prod(boxes[split][:, 2:] - boxes[split][:, :2], axis=1))
        sized.hist(sizes, np.linspace(0, 1, _BINS + 1), color=ink, alpha=0.6, label=split)
        counted.hist(numbers[split], np.arange(0, most + 1 + step, step) - 0.5, color=ink, alpha=0.6, label=split)
    every = np.concatenate([*boxes.values()])
    centers = (every[:, :2] + every[:, 2:]) / 2
    placed.hist2d(*centers.T, bins=20, range=((0, 1), (0, 1)), cmap="Blues")
    placed.invert_yaxis()
    sized.set(xlabel="box size: root of its share of the image", ylabel="boxes")
    placed.set(xlabel="centers of the boxes of all images", aspect="equal", xticks=[], yticks=[])
    counted.set(xlabel="objects per image", ylabel="images")
    counted.locator_params(axis="x", integer=True)
    sized.legend(fontsize=8)
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure
