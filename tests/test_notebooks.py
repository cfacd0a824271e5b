"""docs/notebooks: each runs from its first cell to its last, in miniature, and shows what its text says.

A notebook is run as it is but for the values of its first code cell with the tag `parameters`.
"""

import re
from pathlib import Path

import cv2
import forked
import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))

# figures are shown into the folder that the notebook runs in
BEFORE = """
import matplotlib.pyplot as plt
def show():
    for number in plt.get_fignums():
        plt.figure(number).savefig(f"{len(SHOWN):02d}.png", dpi=50)
        SHOWN.append(number)
    plt.close("all")
SHOWN, plt.show = [], show
"""
# to trace a graph takes longer than the few steps of a miniature without; but LeNet takes 88
EAGER = """
import tensorflow
tensorflow.config.run_functions_eagerly(True)
"""
WITH_GRAPHS = {"1_lenet_digits"}
TINY = {"name": "unet_encoder", "filters": 4, "depth": 6, "batch_norm": False}
# by notebook: the values of its parameters, and what holds after its last cell, in its own variables
MINIATURES = {
    "1_lenet_digits": (
        {"EPOCHS": 2},
        """
assert model.count_params() == 61_706
assert history["loss"][1] < history["loss"][0] and history["val_accuracy"][1] > 0.7
assert confusion.sum() == 359 and confusion.trace() == round(359 * metrics["top1"]) == (predicted == labels).sum()
assert {patch.pixels.shape for patches in best.values() for patch in patches} == {(14, 14, 3)}
assert np.abs(filters - filters_before).max() > 0.01
assert right.mean() < 0.5  # white on black
""",
    ),
    "2_architectures": (
        {"NETWORKS": ["resnet18"], "SIZE": 64, "REPEATS": 1},
        """
row = table["resnet18"]
assert row["convolutional weights"] + row["dense weights"] == 11_689_512  # torchvision's count
assert 0.14e9 < row["multiply-adds"] < 0.16e9  # 1.8 G at 224
seen = fields["resnet18"].field(0, 0)
assert seen.bottom - seen.top == seen.right - seen.left == 435
assert maps[0]["C1"][1].shape == (3, 32, 32) and heat.shape == (1, 64, 64) and heat.min() >= 0
""",
    ),
    "3_transfer_learning": (
        {"IMAGES": 36, "POOL": 60, "VAL": 36, "SIZE": 32, "EPOCHS": 3, "BACKBONE": {"name": "lenet5"}},
        """
assert len(models["frozen"].trainable_weights) == 2  # kernel and bias of the last layer
assert all(len(history["val_accuracy"]) == 3 for history in histories.values())
assert all(history["loss"][-1] < history["loss"][0] for way, history in histories.items() if way != "too fast")
before, frozen, tuned = (one.backbone.get_weights()[0] for one in (build(), models["frozen"], models["fine-tuned"]))
assert (before == frozen).all() and (before != tuned).any()
assert len(accuracies) == 3 and fitted.coef_.shape[1] == val_features.shape[1] == 16  # channels of LeNet
""",
    ),
    "4_unet": (
        {"TRAIN": 32, "VAL": 16, "SIZE": 32, "EPOCHS": 2, "BACKBONE": TINY},
        """
assert all(history["loss"][-1] < history["loss"][0] for history in histories.values())
assert models["with skips"].count_params() > models["without skips"].count_params()
assert all(0 <= metrics["mean_iou"] <= 1 for metrics in scores.values())
assert (distances >= 1).all() and abs(shares.sum() - 1) < 1e-9
accuracy = (predictions["with skips"] == masks).mean()
assert abs(scores["with skips"]["pixel_accuracy"] - accuracy) < 1e-3
""",
    ),
    "5_detector": (
        {"TRAIN": 24, "VAL": 8, "SIZE": 64, "EPOCHS": 2, "BACKBONE": TINY},
        """
from visiontasks.ops import matching
boxes = np.stack([sample.boxes[:1] for sample in samples])
valid, none = np.ones((len(boxes), 1), bool), np.zeros((len(boxes), 1), bool)
every = np.repeat(anchors[None], len(boxes), axis=0)
expected = matching.nearest(boxes, valid, every, none, high=head.overlap, low=head.background, rescue=True)
assert (keras.ops.convert_to_numpy(expected) == np.stack([assign(one) for one in boxes])).all()
assert sum(history["classification_loss"]) > 0 and history["loss"][-1] < history["loss"][0]
assert abs(ap50 - metrics["ap50"]) < 1e-3  # the notebook's average precision is COCO's
three = np.float32([[0, 0, 9, 9], [0, 0, 9, 8], [20, 0, 29, 9]])
assert [int(number) for number in suppress(three, 0.5)[0]] == [0, 2]
""",
    ),
}


def test_every_notebook_has_a_miniature():
    assert [notebook.stem for notebook in NOTEBOOKS] == sorted(MINIATURES)


@pytest.mark.skipif(not forked.SAFE, reason="eager miniatures are TensorFlow's")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs(notebook, tmp_path):
    parameters, after = MINIATURES[notebook.stem]
    text = notebook.read_text(encoding="utf-8")
    (cell,) = re.findall(r'^# %% tags=\["parameters"\]\n(.+?)\n\n', text, re.MULTILINE | re.DOTALL)
    assert re.findall(r"^(\w+) =", cell, re.MULTILINE) == list(parameters)
    small = text.replace(cell, "\n".join(f"{name} = {value!r}" for name, value in parameters.items()))
    before = BEFORE if notebook.stem in WITH_GRAPHS else BEFORE + EAGER
    ran = forked.python("-c", before + small + after, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    figures = sorted(tmp_path.iterdir())
    assert [figure.name for figure in figures] == [f"{i:02d}.png" for i in range(text.count("plt.show()"))]
    assert all(cv2.imread(str(figure)).std() > 5 for figure in figures)  # none is blank


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_opens(notebook):
    """Its cells are Jupytext's, and the first one says how to open it and what to install."""
    first, *cells = re.split(r"^# %%", notebook.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert (
        not first.startswith(" tags") and f"jupytext --to ipynb {notebook.name}" in first and "pip install -e" in first
    )
    for cell in cells:
        kind, _, body = cell.partition("\n")
        assert kind in ("", " [markdown]", ' tags=["parameters"]')
        if kind == " [markdown]":
            assert all(line.startswith("#") for line in body.strip().splitlines())
