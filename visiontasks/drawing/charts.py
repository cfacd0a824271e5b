"""Draws charts of metrics: confusion matrices, precision over recall, and the course of a training."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from visiontasks.drawing.fonts import font_file
from visiontasks.writing import replace_atomically

MOST_CLASSES = 40  # in a confusion matrix: more names than this no eye can read
MOST_ANNOTATED = 20
LONGEST_NAME = 24
MOST_NAMED = 12  # in a legend: more lines than this no eye tells apart


def write_chart(path: Path, figure, argument: str | None = None, dpi: float | str = 100):
    """Write a matplotlib Figure as a PNG file of `dpi` dots per inch; "figure": of as many as the figure says.

    The figure keeps that number of dots.

    Raises:
        UserError: it cannot be written, and the file is as it was; names `argument`, what chose the folder.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if dpi != "figure":
        figure.set_dpi(dpi)
    # savefig would draw twice, the first time for the layout alone, and give the same pixels
    canvas = FigureCanvasAgg(figure)
    replace_atomically(path, lambda temporary: canvas.print_png(temporary), argument, durable=False)


def precision_recall_figure(curves: np.ndarray, names: Sequence[str], title: str):
    """A matplotlib Figure of each class's curve and their mean, with the average precisions in the legend.

    Of more than 12 classes the 12 with the lowest average precision have colors and names, the others are gray.

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
        labels.insert(0, f"mean {average[defined].mean():.3f}")
        legend = figure.legend(lines, labels, loc="outside right upper", title="average precision", fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a "$" in a class name is no formula
            text.set_fontproperties(FontProperties(fname=font_file(text.get_text()), size=8))
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(title, fontsize=10)
    axes.grid(color="0.92")
    return figure


def histogram_figure(values: Sequence[float], what: str, of: str, bins: int = 20):
    """A matplotlib Figure of how often values in 0..1 occur, with their mean and median.

    Args:
        values: at least one.
        what: they are, below the horizontal axis.
        of: what was counted, beside the vertical axis.
        bins: number of bars.
    """
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.hist(values, np.linspace(0, 1, bins + 1), color="#0072b2", edgecolor="white")
    for value, name, style in ((np.mean(values), "mean", "-"), (np.median(values), "median", "--")):
        axes.axvline(value, color="black", linewidth=1.2, linestyle=style, label=f"{name} {value:.3f}")
    axes.set(xlabel=what, ylabel=of, xlim=(0, 1))
    axes.set_title(f"{len(values)} {of}", fontsize=10)
    axes.legend(fontsize=8)
    axes.grid(axis="y", color="0.92")
    return figure


def bars_figure(values: Mapping[str, np.ndarray], names: Sequence[str], title: str):
    """A matplotlib Figure with a panel of bars for each measure, one bar for each name, and its mean.

    Args:
        values: {measure: float (K,)}, NaN where it is not defined.
        names: of the K bars.
        title: what was measured.
    """
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive
    from matplotlib.font_manager import FontProperties

    figure = Figure(figsize=(2 + 3.2 * len(values), 1.4 + 0.24 * len(names)), dpi=120, layout="constrained")
    labels, rows = [short(name) for name in names], np.arange(len(names))
    for axes, (measure, bars) in zip(
        figure.subplots(1, len(values), sharey=True, squeeze=False)[0], values.items(), strict=True
    ):
        drawn = axes.barh(rows, np.nan_to_num(bars), color="#0072b2")
        axes.bar_label(drawn, ["-" if np.isnan(v) else f"{v:.3f}" for v in bars], padding=3, fontsize=8)
        mean = np.nanmean(bars) if np.isfinite(bars).any() else np.nan
        axes.set_title(f"{measure}, mean {mean:.3f}", fontsize=10)
        axes.set_xlim(0, 1.25 * max(1e-6, np.nanmax(bars, initial=0)))
        axes.spines[["top", "right"]].set_visible(False)
    first = figure.axes[0]
    first.set_yticks(rows, labels, parse_math=False)
    for label in first.get_yticklabels():
        label.set_fontproperties(FontProperties(fname=font_file(label.get_text()), size=8))
    first.invert_yaxis()  # from top to bottom as in `names`
    figure.suptitle(title, fontsize=10)
    return figure


def calibration_figure(bins: np.ndarray, title: str):
    """A matplotlib Figure of how often predictions are right, by their scores, and how many there are.

    Args:
        bins: float64 (B, 3), of each bin of scores in 0..1 the mean score, the share that is right, and the count.
        title: what was counted.
    """
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive

    figure = Figure(figsize=(6, 5), dpi=120, layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    used = bins[:, 2] > 0
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="a score is the share that is right")
    axes.plot(bins[used, 0], bins[used, 1], marker="o", color="#0072b2", label="measured")
    axes.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(fontsize=8, loc="upper left")
    axes.set_title(title, fontsize=10)
    centers = (np.arange(len(bins)) + 0.5) / len(bins)
    below.bar(centers, bins[:, 2], 0.9 / len(bins), color="0.6")
    below.set(xlabel="score", ylabel="count")
    axes.grid(color="0.92")
    return figure


def confusion_figure(counts: np.ndarray, names: Sequence[str], title: str):
    """A matplotlib Figure of a confusion matrix: of each row the percents of its true class, below them the counts.

    With more than 40 classes it shows the 40 that were confused most often, and says so.

    Args:
        counts: int64 (C, C), a row for each true class, a column for each predicted one.
        names: of the C classes.
        title: what was counted.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive
    from matplotlib.font_manager import FontProperties

    true, predicted, correct = counts.sum(axis=1), counts.sum(axis=0), np.diagonal(counts)
    shown = np.arange(len(names))
    if len(shown) > MOST_CLASSES:
        wrong = true + predicted - 2 * correct
        title += f"\nthe {MOST_CLASSES} of {len(shown)} classes confused most often"
        shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
    counts = counts[np.ix_(shown, shown)]
    with np.errstate(invalid="ignore"):  # a class that is never true has no shares: NaN, drawn gray
        shares = counts / true[shown, None]
    labels = [short(names[i]) for i in shown]
    rows = [f"{label} ({_compact(true[i])})" for label, i in zip(labels, shown, strict=True)]

    annotated = len(shown) <= MOST_ANNOTATED
    side = 3.2 + (0.42 if annotated else 0.2) * max(5, len(shown))
    figure = Figure(figsize=(side + 1, side), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap=colormaps["Blues"].with_extremes(bad="0.85"))
    figure.colorbar(image, ax=axes, shrink=0.7, format=lambda share, _: f"{share:.0%}")
    # a "$" in a class name is no formula
    axes.set_xticks(range(len(shown)), labels, rotation=90, parse_math=False)
    axes.set_yticks(range(len(shown)), rows, parse_math=False)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(FontProperties(fname=font_file(label.get_text()), size=8))
    axes.set(xlabel="predicted", ylabel="true (count)")
    axes.set_title(title, fontsize=10)
    if annotated:
        for row, column in np.argwhere(counts):  # an empty cell stays blank, so that the confusions stand out
            share = shares[row, column]
            style = {"ha": "center", "color": "white" if share > 0.5 else "black"}
            percents = "<1" if share < 0.005 else f"{100 * share:.0f}"
            axes.text(column, row, percents, va="bottom", fontsize=8, **style)
            axes.text(column, row + 0.06, _compact(counts[row, column]), va="top", fontsize=6, **style)
    return figure


def outcomes_figure(hits: int, wrong: int, missed: int, title: str):
    """A matplotlib Figure of one class's true positives, false positives and misses, with precision and recall."""
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive

    figure = Figure(figsize=(7, 2.8), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    names, counts = ("true positives", "false positives", "false negatives"), (hits, wrong, missed)
    bars = axes.barh(names, counts, color=("#0072b2", "#d55e00", "0.6"))
    axes.bar_label(bars, [str(count) for count in counts], padding=4, fontsize=9)
    axes.invert_yaxis()  # from top to bottom as in `names`
    axes.set(xlabel="count", xlim=(0, 1.15 * max(1, *counts)), xticks=[])
    axes.spines[["top", "right"]].set_visible(False)
    shares = [("precision", hits + wrong), ("recall", hits + missed)]
    shares = ", ".join(f"{name} {hits / count:.3f}" for name, count in shares if count)
    axes.set_title(f"{title}\n{shares}", fontsize=10)
    return figure


def _compact(count: int) -> str:
    """A count in at most five letters: 999, 1.2k, 34.5M."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter(places=1, sep="")(count).replace(".0", "")


def training_figure(
    epochs: Mapping[str, np.ndarray],
    rates: Mapping[str, np.ndarray],
    metrics: Sequence[str],
    stages: Sequence[Mapping[str, int]] = (),
):
    """A matplotlib Figure of a training: a panel of the loss, of its terms, of each metric, and of the learning rate.

    Training is solid and validation dashed, in one color. Dots are the best epoch's, gray lines begin a stage.

    Args:
        epochs: columns with a value an epoch: "epoch"; "loss" and "NAME_loss"; "val_NAME" of losses and metrics;
            "val_score", by which the best epoch is chosen. NaN where nothing was measured.
        rates: the columns "step" and "learning_rate".
        metrics: the names of those to draw, at most three.
        stages: {"epoch", "step"} after which each further stage began.
    """
    from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive
    from matplotlib.ticker import MaxNLocator

    x, score = epochs["epoch"], epochs.get("val_score", np.full(len(epochs["epoch"]), np.nan))
    best = None if np.isnan(score).all() else int(np.nanargmax(score))
    terms = [name for name in epochs if name.endswith("_loss") and not name.startswith("val_")]
    panels = {"loss": ["loss"]}
    if len(terms) > 1:  # one term is the loss itself
        panels["loss terms"] = terms
    panels |= {name: [name] for name in metrics[:3]}
    rows = math.ceil((len(panels) + 1) / 3)
    figure = Figure(figsize=(11, 3.1 * rows), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False).ravel()
    for axes, (title, names) in zip(grid, panels.items(), strict=False):
        for number, name in enumerate(names):
            ink = f"C{number % 10}"
            for key, style in ((name, "-"), (f"val_{name}", "--")):
                if key not in epochs:
                    continue
                label = name.removesuffix("_loss") if len(names) > 1 and style == "-" else None
                alone = {"marker": "."} if np.isfinite(epochs[key]).sum() == 1 else {}
                axes.plot(x, epochs[key], style, color=ink, label=label, linewidth=1.4, **alone)
                if best is not None and style == "--":
                    axes.plot(x[best], epochs[key][best], "o", color=ink, markersize=5)
        if title in metrics and best is not None:
            title = f"{title} {epochs[f'val_{title}'][best]:.4f} at epoch {x[best]:.0f}"
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        if len(names) > 1:
            axes.legend(fontsize=7)
    lines = [grid[0].plot([], [], style, color="0.3")[0] for style in ("-", "--")]
    grid[0].legend(lines, ["training", "validation"], fontsize=7)
    last = grid[len(panels)]
    last.plot(rates["step"], rates["learning_rate"], color="C0", linewidth=1.4)
    last.set_title("learning rate", fontsize=10)
    last.set_xlabel("step")
    for number, axes in enumerate(grid):
        if number > len(panels):
            axes.remove()
            continue
        axes.grid(color="0.92")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for stage in stages:
            axes.axvline(stage["step"] if axes is last else stage["epoch"] + 0.5, color="0.6", linewidth=0.8)
    return figure


def short(name: str) -> str:
    """A class name that fits beside a chart, on one line."""
    name = " ".join(name.split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
