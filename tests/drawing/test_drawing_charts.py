"""The chart of a training: what is drawn in which panel; and how charts are written."""

import cv2
import numpy as np
import pytest

from visiontasks.drawing.charts import confusion_figure, training_figure, write_chart

EPOCHS = {
    "epoch": [1, 2, 3],
    "step": [9, 18, 20],
    "loss": [3, 2, 1],
    "val_loss": [3, 2.5, np.nan],
    "val_score": [0.25, 0.5, np.nan],
    "val_top1": [0.25, 0.5, np.nan],
}
RATES = {"step": [1, 10, 20], "learning_rate": [0.1, 0.2, 0.05]}


def panels(epochs, metrics, stages=()):
    arrays = [{key: np.array(value, float) for key, value in columns.items()} for columns in (epochs, RATES)]
    figure = training_figure(*arrays, metrics, stages)
    return {axes.get_title(): axes for axes in figure.axes}


def curves(axes):
    """[(style, color, values)] of the lines with an x and more than one point."""
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    return [(line.get_linestyle(), line.get_color(), line.get_ydata().tolist()) for line in lines]


def marks(axes_by_title, chosen, value):
    return {title: [value(line) for line in axes.lines if chosen(line)] for title, axes in axes_by_title.items()}


def test_training_is_solid_and_validation_dashed_in_one_color():
    axes_by_title = panels(EPOCHS, ["top1"])
    assert list(axes_by_title) == ["loss", "top1 0.5000 at epoch 2", "learning rate"]
    (solid, ink, values), (dashed, same, _) = curves(axes_by_title["loss"])
    assert (solid, dashed, values) == ("-", "--", [3, 2, 1]) and ink == same
    assert curves(axes_by_title["learning rate"])[0][2] == RATES["learning_rate"]
    assert axes_by_title["learning rate"].get_xlabel() == "step" and axes_by_title["loss"].get_xlabel() == "epoch"


def test_the_best_epoch_and_the_stages_are_marked():
    axes_by_title = panels(EPOCHS, ["top1"], [{"epoch": 1, "step": 9}])
    dots = {
        title: [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "o"]
        for title, axes in axes_by_title.items()
    }
    assert dots == {"loss": [(2, 2.5)], "top1 0.5000 at epoch 2": [(2, 0.5)], "learning rate": []}
    at = {
        title: [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
        for title, axes in axes_by_title.items()
    }
    assert at == {"loss": [1.5], "top1 0.5000 at epoch 2": [1.5], "learning rate": [9]}


@pytest.mark.parametrize("terms", [1, 2])
def test_a_series_is_drawn_once(terms):
    """One term is the loss itself, and of one head the score is its main metric."""
    names = [f"{n}_loss" for n in range(terms)]
    more = {key: EPOCHS["loss"] for name in names for key in (name, f"val_{name}")}
    axes_by_title = panels({**EPOCHS, **more}, ["top1"])
    assert ("loss terms" in axes_by_title) == (terms > 1)
    assert sum(len(curves(axes)) for axes in axes_by_title.values()) == 2 + (2 * terms if terms > 1 else 0) + 1 + 1


def test_an_epoch_alone_or_without_scores_can_be_drawn():
    for count in (1, 3):
        columns = {key: value[-count:] for key, value in EPOCHS.items() if key in ("epoch", "loss", "val_score")}
        assert list(panels(columns, [])) == ["loss", "learning rate"]


@pytest.mark.parametrize("dpi", [100, "figure"])
def test_a_file_has_the_pixels_that_matplotlib_saves(dpi, tmp_path):
    def figure():
        return confusion_figure(np.arange(9).reshape(3, 3), ["a", "b", "a long name"], "title")

    write_chart(tmp_path / "ours.png", figure(), dpi=dpi)
    figure().savefig(tmp_path / "theirs.png", dpi=dpi)
    ours, theirs = (cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED) for name in ("ours.png", "theirs.png"))
    assert ours.std() > 0
    np.testing.assert_array_equal(ours, theirs)
