"""The confusion matrix as an image: all of it legible, whatever the number and the names of the classes."""

import warnings

import numpy as np
import pytest

from visiontasks.evaluation.metrics.confusion import Confusion


def confusion(names, seed=0, size=3000):
    counted = Confusion(names)
    target = np.random.default_rng(seed).integers(0, len(names), size)
    counted.add(target, np.where(target % 7 == 0, (target + 1) % len(names), target))
    return counted


def texts(figure):
    axes = figure.axes[0]
    labels = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
    return [label for label in labels if label.get_text()]


@pytest.mark.parametrize("classes", [1, 2, 15, 40, 41, 300])
def test_no_text_is_cut_off_or_overlaps(classes):
    figure = confusion([f"a class with a rather long name, number {i}" for i in range(classes)]).figure("title")
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    for text in texts(figure):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()
    rows = sorted(label.get_window_extent().y0 for label in figure.axes[0].get_yticklabels())
    assert len(rows) == (3 if classes == 1 else min(classes, 40))  # of one class: TP, FP, FN
    assert (np.diff(rows) > 8).all()  # pixels between lines of 8 points at 120 dots an inch: they stay apart


def test_percents_are_of_the_true_class_and_counts_below_them():
    counted = Confusion(["a", "b", "c"])
    counted.counts[:] = [[3, 1, 0], [0, 0, 0], [0, 1, 98765]]
    figure = counted.figure("title")
    shown = {}
    for text in sorted(figure.axes[0].texts, key=lambda t: t.get_position()[1]):
        column, row = text.get_position()
        shown[int(column), round(row)] = [*shown.get((int(column), round(row)), []), text.get_text()]
    # nothing where the count is none
    assert shown == {(0, 0): ["75", "3"], (1, 0): ["25", "1"], (2, 2): ["100", "98.8k"], (1, 2): ["<1", "1"]}
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a (4)", "b (0)", "c (98.8k)"]


def test_the_scale_is_linear_and_of_one_hue():
    (image,) = confusion(["a", "b", "c"]).figure("title").axes[0].get_images()
    assert image.norm(0.25) == 0.25 and image.cmap.name == "Blues"


def test_annotations_stay_inside_their_cells():
    figure = confusion([str(i) for i in range(20)], size=10_000_000).figure("title")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for text in axes.texts:
        box = text.get_window_extent().transformed(axes.transData.inverted())
        column, row = (round(v) for v in text.get_position())
        assert abs(np.array([box.x0, box.x1]) - column).max() < 0.5, text.get_text()
        assert abs(np.array([box.y0, box.y1]) - row).max() < 0.5, text.get_text()


def test_of_many_classes_the_most_confused_are_shown():
    counted = Confusion([str(i) for i in range(300)])
    counted.add(np.arange(300), np.arange(300))
    counted.add(np.full(50, 17), np.full(50, 230))
    names = [label.get_text() for label in counted.figure("title").axes[0].get_xticklabels()]
    assert {"17", "230"} <= set(names) and len(names) == 40


def test_names_are_no_formulas():
    """A "$" starts a formula in matplotlib; a class may be called so."""
    names = ["$x", "a$b$c", "$\\frac$", "Жук", "two\nlines"]  # the third would be a syntax error
    figure = confusion(names).figure("title")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [*names[:4], "two lines"]
