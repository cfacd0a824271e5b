"""The table of an evaluation on the screen."""

import io

import numpy as np
from rich.console import Console

from visiontasks.evaluation.metrics_table import MOST_CLASSES, print_metrics

METRICS = {"mean_iou": 0.5, "iou/disc": 0.25, "iou/a/b": float("nan"), "dice/disc": 0.75, "dice/a/b": 1.0}


def printed(metrics, *heads, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    print_metrics(metrics, dict.fromkeys(heads), Console(file=file, soft_wrap=True))
    file.flush()
    return [line.split() for line in file.buffer.getvalue().decode(encoding).splitlines() if line.strip()]


def test_classes_are_rows_and_metrics_columns_then_come_the_overall_ones():
    table = [["class", "iou", "dice"], ["disc", "0.2500", "0.7500"], ["a/b", "-", "1.0000"], ["mean_iou", "0.5000"]]
    assert printed(METRICS, "one") == table
    two = {f"{head}/{key}": value for head in ("regions", "more") for key, value in METRICS.items()}
    assert printed(two, "regions", "more") == [["regions"], *table, ["more"], *table]


def test_without_classes_of_their_own_there_are_the_overall_rows():
    assert printed({"top1": 0.5, "top5": 1.0}, "one") == [["top1", "0.5000"], ["top5", "1.0000"]]


def test_of_many_classes_the_worst_are_shown_in_their_order():
    values = np.random.default_rng(0).permutation(MOST_CLASSES + 20) / 100
    *rows, _, note = printed({"map": 0.5, **{f"ap/c{n}": float(v) for n, v in enumerate(values)}}, "one")
    worst = [n for n, value in enumerate(values) if value < MOST_CLASSES / 100]
    assert [row[0] for row in rows[1:]] == [f"c{n}" for n in worst] and "lowest" in note


def test_a_narrow_console_and_a_long_name():
    (_, row, _) = printed({"mean_iou": 0.5, f"iou/赤{'x' * 90}": 0.25}, "one", encoding="ascii")
    assert row[0].startswith("?x") and len(row[0]) <= 40 and row[1] == "0.2500"
