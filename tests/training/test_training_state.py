"""A training that ended at any moment goes on as if nothing had happened."""

import csv
import io
import shutil

import fakes
import keras
import numpy as np
import pytest
from blocks import Blocks
from rich.console import Console

from visiontasks.data.pipeline import Loader
from visiontasks.heads.classifier import Classifier
from visiontasks.model import VisionModel
from visiontasks.recipe.schema import FreezeRecipe, TrainRecipe
from visiontasks.registry.catalog import tasks_of
from visiontasks.training.fit import fit
from visiontasks.training.generations import read
from visiontasks.training.run_directory import RunDirectory

STEPS = 3  # of an epoch
RECIPE = TrainRecipe(epochs=3, save_minutes=0, ema=0.9, freeze=FreezeRecipe(epochs=1), layer_decay=0.8)


def train(run, saved=None):
    """What `fit` returns, of a model with dropout on augmented images."""
    keras.utils.set_random_seed(0)
    common = dict(fields=("label",), size=(32, 32), batch=4, workers=0)
    train = Loader(Blocks(4 * STEPS), training=True, augment=[{"HorizontalFlip": {"p": 0.5}}], **common)
    model = VisionModel(fakes.backbone(), Classifier(fakes.CLASSES, dropout=0.5))
    val = Loader(Blocks(8), **common)
    ended = fit(model, train, val, tasks_of(model), RECIPE, run, Console(file=io.StringIO()), saved=saved)
    return {key: value for key, value in ended.items() if key != "seconds"}


def rows(run):
    with run.metrics.open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run whose every state is kept, one of each step and of each epoch's end, and what `fit` returned."""
    run = RunDirectory.create(tmp_path_factory.mktemp("runs"), "undisturbed")
    run.states.keep = 99
    return run, train(run)


# within an epoch, before and after the validation that ends the first stage, within the second, after the end
@pytest.mark.parametrize("done", [(0, 2), (0, 3), (1, 0), (2, 1), (3, 0)])
def test_goes_on_from_any_state_to_the_same_bits(undisturbed, done, tmp_path):
    whole, ended = undisturbed
    positions = {path: read(path)[0]["memories"]["position"] for path in reversed(whole.states.files)}
    (path, *_) = [path for path, one in positions.items() if (one["epoch"], one["step"]) == done]
    run = RunDirectory.create(tmp_path, "killed")
    run.states.folder.mkdir()
    for file in (path, whole.metrics, whole.learning_rate):  # the tables know more than the state, as after a kill
        shutil.copy(file, run.states.folder if file is path else run.path)
    assert train(run, run.states.read()) == ended
    (_, expected), (_, found) = whole.states.read(), run.states.read()
    assert len(expected) == len(found) > 10
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    assert rows(run) == rows(whole) and len(rows(run)) == 3
    assert run.learning_rate.read_bytes() == whole.learning_rate.read_bytes()
