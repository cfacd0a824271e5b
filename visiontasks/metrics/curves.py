"""Draws precision over recall."""

from collections.abc import Sequence

import numpy as np

from visiontasks.metrics.confusion import mean_of_defined, short
from visiontasks.metrics.fonts import font_file

MOST_NAMED = 12  # in a legend: more lines than this no eye tells apart


def precision_recall_figure(curves: np.ndarray, names: Sequence[str], title: str):
    """A matplotlib Figure of each class's curve and their mean, with the average precisions in the legend.

    Of more than 12 classes the 12 of the lowest average precision have colours and names, the others are grey.

    Args:
        curves: float64 (R, C), precision at R recalls evenly from 0 to 1; NaN for a class with nothing to find.
        names: of the C classes.
        title: what the curves were measured at.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive
    from matplotlib.font_manager import FontProperties

    recalls = np.linspace(0, 1, len(curves))
    average = curves.mean(axis=0)
    defined = np.flatnonzero(~np.isnan(average))
    worst_first = defined[np.argsort(average[defined], kind="stable")]
    named, others = worst_first[:MOST_NAMED], worst_first[MOST_NAMED:]
    if len(others):
        title += f"; the {MOST_NAMED} of {len(defined)} classes with the lowest AP are named"

    figure = Figure(figsize=(8.5, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for number in others:
        axes.plot(recalls, curves[:, number], color="0.8", linewidth=0.7)
    inks = colormaps["tab20"].colors
    lines = [
        axes.plot(recalls, curves[:, number], color=inks[(2 * i + i // 10) % 20], linewidth=1.2)[0]
        for i, number in enumerate(named)
    ]
    labels = [f"{short(names[i])} {average[i]:.3f}" for i in named]
    if len(defined):
        lines.insert(0, axes.plot(recalls, curves[:, defined].mean(axis=1), color="black", linewidth=2.5)[0])
        labels.insert(0, f"mean {mean_of_defined(average):.3f}")
        legend = figure.legend(lines, labels, loc="outside right upper", title="average precision", fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a "$" in a class name is no formula
            text.set_fontproperties(FontProperties(fname=font_file(text.get_text()), size=8))
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(title, fontsize=10)
    axes.grid(color="0.92")
    return figure
