"""`Confusion`: how often each class was taken for which, the counts that class metrics are made of."""

from collections.abc import Sequence

import numpy as np

from visiontasks.metrics.fonts import font_file

MOST_CLASSES = 40  # in a figure: more names than this no eye can read
MOST_ANNOTATED = 20
LONGEST_NAME = 24


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, float64; NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def mean_of_defined(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN where nothing is left."""
    values = np.asarray(values)[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def by_class(figure: str, names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """{"figure/NAME": value} for a result."""
    return {f"{figure}/{name}": float(value) for name, value in zip(names, values, strict=True)}


class Confusion:
    """Counts of (true class, predicted class).

    Attributes:
        counts: int64 (C, C), a row for each true class, a column for each predicted one.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.counts = np.zeros((len(self.names),) * 2, np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray):
        """Count pairs, integers of any equal shape, all within 0..C-1."""
        classes = len(self.names)
        pairs = np.multiply(truth, classes, dtype=np.int64)  # bincount counts int64 without another copy
        pairs += predicted
        self.counts += np.bincount(pairs.ravel(), minlength=classes * classes).reshape(classes, classes)

    @property
    def correct(self) -> np.ndarray:
        return np.diagonal(self.counts)

    @property
    def true(self) -> np.ndarray:
        """How often each class was true."""
        return self.counts.sum(axis=1)

    @property
    def predicted(self) -> np.ndarray:
        """How often each class was predicted."""
        return self.counts.sum(axis=0)

    @property
    def accuracy(self) -> float:
        return float(ratio(self.correct.sum(), self.counts.sum()))

    @property
    def f1(self) -> np.ndarray:
        """2 TP / (2 TP + FP + FN) of each class: the Dice coefficient; NaN for a class neither true nor predicted."""
        return ratio(2 * self.correct, self.true + self.predicted)

    @property
    def iou(self) -> np.ndarray:
        """TP / (TP + FP + FN) of each class; NaN for a class neither true nor predicted."""
        return ratio(self.correct, self.true + self.predicted - self.correct)

    def figure(self, title: str):
        """A matplotlib Figure of the matrix, each row as percents of its true class.

        With more than 40 classes it shows the 40 that were confused most often, and says so.
        """
        from matplotlib import colormaps
        from matplotlib.colors import PowerNorm
        from matplotlib.figure import Figure  # not pyplot: no window system, nothing kept alive
        from matplotlib.font_manager import FontProperties
        from matplotlib.ticker import EngFormatter

        shown = np.arange(len(self.names))
        if len(shown) > MOST_CLASSES:
            wrong = self.true + self.predicted - 2 * self.correct
            title += f"\nthe {MOST_CLASSES} of {len(shown)} classes confused most often"
            shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
        shares = ratio(self.counts, self.true[:, None])[np.ix_(shown, shown)]
        names = [short(self.names[i]) for i in shown]
        compact = EngFormatter(places=1, sep="")
        rows = [f"{name} ({compact(self.true[i]).replace('.0', '')})" for name, i in zip(names, shown, strict=True)]

        annotated = len(shown) <= MOST_ANNOTATED
        side = 3.2 + (0.34 if annotated else 0.2) * max(5, len(shown))
        figure = Figure(figsize=(side + 1, side), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        norm = PowerNorm(0.5, 0, 1)  # rare confusions are to be seen
        picture = axes.imshow(shares, norm=norm, cmap=colormaps["cividis"].with_extremes(bad="0.85"))
        figure.colorbar(picture, ax=axes, shrink=0.7, format=lambda share, _: f"{share:.0%}")
        # a "$" in a class name is no formula
        axes.set_xticks(range(len(shown)), names, rotation=90, parse_math=False)
        axes.set_yticks(range(len(shown)), rows, parse_math=False)
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            label.set_fontproperties(FontProperties(fname=font_file(label.get_text()), size=8))
        axes.set(xlabel="predicted", ylabel="true (count)")
        axes.set_title(title, fontsize=10)
        if annotated:
            for (row, column), share in np.ndenumerate(shares):
                if share >= 0.005:  # what would print as 0 stays blank, so that the confusions stand out
                    ink = "black" if norm(share) > 0.5 else "white"
                    axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=ink, fontsize=8)
        return figure


def short(name: str) -> str:
    """A class name that fits beside a chart, on one line."""
    name = " ".join(name.split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
