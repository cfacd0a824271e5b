"""A training that ended at any moment goes on as if nothing had happened."""

import csv
import io
import shutil
import signal
import warnings

import fakes
import keras
import numpy as np
import pytest
from blocks import Blocks, during_validation, position
from rich.console import Console

from visiontasks.data.pipeline import Loader
from visiontasks.errors import UserError
from visiontasks.heads.classifier import Classifier
from visiontasks.keras_backend import writes_events
from visiontasks.model import VisionModel
from visiontasks.recipe.schema import FreezeRecipe, TrainRecipe
from visiontasks.registry.catalog import tasks_of
from visiontasks.training.fit import fit
from visiontasks.training.generations import Generations, read
from visiontasks.training.interrupt import Interrupt
from visiontasks.training.run_directory import RunDirectory
from visiontasks.training.state import TrainingState

STEPS = 3  # of an epoch
RECIPE = TrainRecipe(
    epochs=3, save_minutes=0, ema=0.9, freeze=FreezeRecipe(epochs=1), layer_decay=0.8, early_stopping=9
)


class Signal(keras.callbacks.Callback):
    """Raises Ctrl-C after a step of an epoch, or in its validation."""

    def __init__(self, epoch, step, monkeypatch):
        super().__init__()
        self.at, self.epoch = (epoch, step), None
        during_validation(monkeypatch, lambda: self.reach("validation"))

    def reach(self, step):
        if self.at == (self.epoch, step):
            self.at = None
            signal.raise_signal(signal.SIGINT)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.reach(batch)


def train(run, resume=False, extra=(), made=None):
    """What `fit` returns, of a model with dropout on augmented images."""
    keras.utils.set_random_seed(0)
    common = dict(fields=("label",), size=(32, 32), batch=4, workers=0)
    train = Loader(Blocks(4 * STEPS), training=True, augment=[{"HorizontalFlip": {"p": 0.5}}], **common)
    model = made or network()
    val = Loader(Blocks(8), **common)
    ended = fit(model, train, val, tasks_of(model), RECIPE, run, Console(file=io.StringIO()), extra, resume)
    return {key: value for key, value in ended.items() if key != "seconds"}


def network():
    return VisionModel(fakes.backbone(), Classifier(fakes.CLASSES, dropout=0.5))


def rows(run):
    with run.metrics.open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def same(run, whole):
    """Assert that two runs came to the same end: variables, what callbacks remember, and tables."""
    (expected, there), (found, here) = whole.states.read(), run.states.read()
    assert len(there) == len(here) > 10 and expected["variables"] == found["variables"]
    assert all(np.array_equal(a, b) for a, b in zip(there, here, strict=True))
    for name in ("checkpoints", "early_stopping"):
        assert expected["memories"][name] == found["memories"][name]
    assert rows(run) == rows(whole) and len(rows(run)) == 3
    assert run.learning_rate.read_bytes() == whole.learning_rate.read_bytes()
    if writes_events():
        assert events(run) == events(whole) and len(events(run)) == 3


def events(run):
    """{epoch: its validation loss} of TensorBoard's files, in which no epoch is twice."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found = {}
    for path in sorted((run.events / "validation").iterdir()):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag == "epoch_loss":
                    assert event.step not in found
                    found[event.step] = float(make_ndarray(value.tensor))
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run whose every state is kept, one of each step and of each epoch's end, and what `fit` returned."""
    run = RunDirectory.create(tmp_path_factory.mktemp("runs"), "undisturbed")
    run.states.keep = 99
    run.recipe.write_text("epochs: 3")
    return run, train(run)


# within an epoch, before and after the validation that ends the first stage, within the second
@pytest.mark.parametrize("done", [(0, 2), (0, 3), (1, 0), (2, 1)])
def test_goes_on_from_any_state_to_the_same_bits(undisturbed, done, tmp_path):
    whole, ended = undisturbed
    positions = {path: read(path)[0]["memories"]["position"] for path in reversed(whole.states.files)}
    (path, *_) = [path for path, one in positions.items() if (one["epoch"], one["step"]) == done]
    run = RunDirectory.create(tmp_path, "killed")
    run.states.folder.mkdir()
    shutil.copy(whole.recipe, run.recipe)
    for file in (path, whole.metrics, whole.learning_rate):  # the tables know more than the state, as after a kill
        shutil.copy(file, run.states.folder if file is path else run.path)
    assert train(run, resume=True) == ended
    same(run, whole)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="there dropout draws from PyTorch's generator")
def test_nothing_is_drawn_but_in_a_step(undisturbed):
    """TensorFlow could draw once more as it finds that an epoch has no further batch, or not."""
    for path in undisturbed[0].states.files:
        values, arrays = read(path)
        (draws,) = [a[1] for a, (name, *_) in zip(arrays, values["variables"], strict=True) if "seed_generator" in name]
        position = values["memories"]["position"]
        assert draws == position["epoch"] * STEPS + position["step"]


@pytest.mark.parametrize("at", [(1, 0), (2, "validation")])
def test_goes_on_after_ctrl_c_to_the_same_bits(undisturbed, at, tmp_path, monkeypatch):
    whole, ended = undisturbed
    run = RunDirectory.create(tmp_path, "stopped")
    stopped = train(run, extra=[Signal(*at, monkeypatch)])
    assert stopped["interrupted"] and stopped["epochs"] == at[0] and len(rows(run)) == at[0] + 1
    assert train(run, resume=True) == ended
    same(run, whole)


def test_after_the_last_epoch_the_model_has_its_weights(undisturbed):
    """Of a run that was killed in its final evaluation."""
    whole, ended = undisturbed
    before, files, model = whole.metrics.read_bytes(), whole.states.files, network()
    assert train(whole, resume=True, made=model) == ended
    assert whole.metrics.read_bytes() == before and whole.states.files == files
    _, arrays = whole.states.read()
    assert all(any(np.array_equal(weight, array) for array in arrays) for weight in model.get_weights())


@pytest.mark.parametrize("error", [UserError("the disk is full"), TypeError("no JSON"), OSError("gone")])
def test_an_error_while_a_state_is_written_ends_training(error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    run = RunDirectory.create(tmp_path, "full")
    monkeypatch.setattr(run.states, "write", fail)
    with pytest.raises(type(error), match=str(error)):
        train(run)


def test_a_state_of_another_model_is_an_error(undisturbed, tmp_path):
    whole, _ = undisturbed
    run = RunDirectory.create(tmp_path, "other")
    shutil.copy(whole.recipe, run.recipe)
    values, arrays = whole.states.read()
    values["variables"][5][0] = "backbone/another/kernel"
    run.states.write(values, arrays)
    with pytest.raises(UserError, match=r"resume: the saved state is of another model: it has .*another/kernel"):
        train(run, resume=True)
    run.recipe.write_text("epochs: 4")
    with pytest.raises(UserError, match="resume: recipe.yaml in .*other.* changed since the state was saved"):
        train(run, resume=True)
    run.states.write({"memories": {}}, [])
    with pytest.raises(UserError, match="resume: .*has no state of this version"):
        train(run, resume=True)


def test_a_state_that_is_not_finite_is_not_saved_and_said_unless_a_fault_says_it(tmp_path):
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd")
    model.optimizer.build(model.trainable_variables)
    model.weights[0].assign(np.full((2, 1), np.nan))
    at = position(3)
    at.epoch, at.step = 1, 2
    state = TrainingState(Generations(tmp_path / "state"), at, Interrupt(), {}, 0, dict)
    state.set_model(model)
    with pytest.warns(UserWarning, match="the state after step 2 of epoch 2 holds NaN or infinity and is not saved"):
        state.save()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not saved")
        state.save(wait=False)
        with pytest.raises(FloatingPointError, match="a batch"):
            state.go_back(ValueError("a batch"), lambda: None)
        model.weights[0].assign(np.zeros((2, 1)))
        state.save()
    assert len(state.generations.files) == 1
