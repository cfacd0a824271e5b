"""Every shipped recipe: fits its parts, says what it is, and names the command."""

import csv
import functools
import math

import pytest

from visiontasks import build, train
from visiontasks.recipe import reading as recipe
from visiontasks.registry import catalog

RECIPES = sorted(recipe.available())


@pytest.mark.parametrize("name", RECIPES)
def test_fits_the_signatures_of_its_parts(name):
    build.check(recipe.read(name))


@pytest.mark.parametrize("name", RECIPES)
def test_its_comment_gives_source_command_and_where_the_figure_is_from(name):
    text = "\n".join(recipe.comment(recipe.RECIPES / f"{name}.yaml"))
    assert f"recipe={name}" in text
    assert "http" in text
    assert "easured" in text  # measured here with hardware and minutes, or said to be not


NO_DOWNLOAD = ("shapes", "digits", "defects")


def by_gradients(made):
    return all(catalog.find("heads", part["name"]).by_gradients for part in made.parts.values())


@functools.cache
def parts(name):
    """A recipe's backbone and heads by name: of several that are a paper's settings for it, one is trained."""
    made = recipe.read(name)
    return made.backbone["name"], *(part["name"] for part in made.parts.values())


# of the papers' settings for one network, first those whose name says no data set
ORDER = sorted(RECIPES, key=lambda name: (name.endswith(("_coco", "_voc")), name))
AGAIN = {
    name for i, name in enumerate(ORDER) if parts(name) in map(parts, ORDER[:i]) and name.endswith(("_coco", "_voc"))
}

# of the same family and with the same arguments; test_contracts_precision.py has passes of resnet50 and vgg16
SMALLER = {"resnet50": "resnet18", "vgg16": "vgg11", "csp_darknet_s": "csp_darknet_n"}


def train_op_by_op(words):
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    return train.train(words)


@pytest.mark.parametrize("name", [name for name in RECIPES if recipe.read(name).data.train and name not in AGAIN])
def test_trains_through_its_stages_in_miniature(name, tmp_path, apart):
    """Four small images and a small backbone of the family; where the recipe freezes it, an epoch of each stage.

    Op by op: to trace each recipe takes three times as long. The commands' tests trace.
    """
    made = recipe.read(name)
    words = [f"recipe={name}", f"run.dir={tmp_path}", "data.batch=4", "data.workers=1"]
    stages = 2 if made.train.freeze and made.train.freeze.epochs else 1
    if by_gradients(made):
        words.append(f"train.epochs={stages}")
    words.append(f"data.size=[{min(64, made.data.size[0])}, {min(64, made.data.size[1])}]")
    for part in ("train", "val"):
        source = getattr(made.data, part)["source"]
        if source not in NO_DOWNLOAD:
            words.append(f"data.{part}={{source: shapes, count: 4}}")
        elif source in ("shapes", "defects"):
            words.append(f"data.{part}.count=4")
    if made.data.train["source"] == "digits":  # all 1797 of them
        words.append("data.batch=600")
    if made.backbone["name"] in SMALLER:
        words.append(f"backbone.name={SMALLER[made.backbone['name']]}")
    if made.backbone["name"] != "efficientnet_lite0" and made.backbone.get("weights"):
        words.append("backbone.weights=null")  # a download
    if made.backbone.get("norm") == "frozen_batch":  # which normalises nothing without weights
        words.append("backbone.norm=batch")
    # a dense layer on a flattened map has millions of weights, and so has the paper's U-Net
    if made.head and made.head["name"].endswith("rcnn"):
        words.append("head.units=32")
        # op by op, each of thousands of proposals takes several calls
        few = {"candidates": 60, "proposals": 40}
        words += [f"head.training_{key}={value}" for key, value in few.items()]
        words += ["head.proposal_candidates=60", "head.proposals=40", "head.samples=32", "head.detections=10"]
    if made.head and made.head["name"] == "yolo_v1":
        words.append("head.hidden=[32]")
    if name == "unet_2015":
        words += ["backbone.filters=8", "head.filters=[64, 32, 16, 8]"]
    if made.data.sizes:
        words.append("data.sizes=[[64, 64]]")  # several: tests/test_commands_detection.py
    extra = (made.head or {}).get("extra")
    if extra:  # as many levels, which an image of 64 pixels does not give otherwise
        words.append(f"head.extra=[{', '.join(['half'] * len(extra))}]")
    if (made.head or {}).get("steps"):  # which are for the size of the paper
        words.append("head.steps=null")
    if stages == 2:
        words.append("train.freeze.epochs=1")
    if made.train.steps:
        words.append("train.steps=null")
    assert apart(train_op_by_op, words) == 0
    (run,) = (tmp_path / name).iterdir()
    assert any((run / "predictions").iterdir()) and (run / "checkpoints" / "best.keras").is_file()
    if not by_gradients(made):
        return  # it has no epochs
    rows = list(csv.DictReader((run / "metrics.csv").open(encoding="utf-8")))
    assert len(rows) == stages
    for row in rows:
        # a score may be undefined, as the AP of large objects is where there are none
        losses = {key: value for key, value in row.items() if key.endswith("loss")}
        assert losses and all(math.isfinite(float(value)) for value in losses.values()), row
