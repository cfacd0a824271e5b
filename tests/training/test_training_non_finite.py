"""A batch that makes the loss or the weights NaN: training stops and names it, or goes on without it."""

import csv
import io
import shutil
import sys

import fakes
import keras
import numpy as np
import pytest
from blocks import Blocks
from keras import ops
from rich.console import Console

from visiontasks.data.pipeline import Loader
from visiontasks.data.stream import Stream
from visiontasks.heads.classifier import Classifier
from visiontasks.model import VisionModel
from visiontasks.recipe.schema import FreezeRecipe, TrainRecipe
from visiontasks.registry.catalog import tasks_of
from visiontasks.training.fit import fit
from visiontasks.training.generations import all_finite, read
from visiontasks.training.non_finite import MOST, MOST_IN_ALL, GoBack, NonFinite
from visiontasks.training.position import Position
from visiontasks.training.run_directory import RunDirectory

STEPS = 3  # of an epoch
SPOILED = 4  # the number of the batch with a white image: the second of the second epoch


@keras.saving.register_keras_serializable(package="tests")
class Fragile(keras.layers.Layer):
    """Passes features on; of a white image they, or their gradients alone, are not finite."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, features, images):
        white = ops.min(ops.cast(images, "int32"), axis=(1, 2, 3), keepdims=True) == 255
        if self.kind == "loss":
            return ops.where(white, ops.cast(float("nan"), features.dtype), features)
        zero = features - ops.stop_gradient(features)  # the root's gradient at 0 is infinite
        return features + ops.sqrt(ops.where(white, zero, ops.ones_like(zero)))

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}


def network(kind):
    backbone = fakes.backbone()
    fragile = Fragile(kind)(backbone.output["C3"], backbone.input)
    return VisionModel(keras.Model(backbone.input, {"C3": fragile}), Classifier(fakes.CLASSES, dropout=0.5))


@pytest.fixture
def spoiled(monkeypatch):
    """The numbers of training batches in which an image is white; the fixture's value is changed by tests."""
    numbers, get = {SPOILED}, Stream.get

    def spoil(stream, number):
        batch = get(stream, number)
        if number in numbers and not batch.samples:
            image = batch.arrays["image"].copy()
            image[0] = 255
            batch = batch._replace(arrays={**batch.arrays, "image": image})
        return batch

    monkeypatch.setattr(Stream, "get", spoil)
    return numbers


def train(run, kind, resume=False, **recipe):
    """(what `fit` returns, what it prints)."""
    keras.utils.set_random_seed(0)
    common = dict(fields=("label",), size=(32, 32), batch=4, workers=0)
    train = Loader(Blocks(4 * STEPS), training=True, augment=[{"HorizontalFlip": {"p": 0.5}}], **common)
    model, console = network(kind), Console(file=io.StringIO(), soft_wrap=True)
    recipe = TrainRecipe(**{"epochs": 3, "save_minutes": 0, "ema": 0.9, **recipe})
    ended = fit(model, train, Loader(Blocks(8), **common), tasks_of(model), recipe, run, console, resume=resume)
    ended.pop("seconds")
    return ended, console.file.getvalue()


def new(folder, name="run"):
    run = RunDirectory.create(folder, name)
    run.states.keep = 99
    return run


def facts(path):
    memories = read(path)[0]["memories"]
    return memories["position"]["left_out"], memories["non_finite"]["halved"]


# killed before the batch, after the way back, and after the second of two
@pytest.mark.parametrize(
    ("kind", "number", "halved", "kills", "freeze"),
    [
        ("loss", SPOILED, [SPOILED + 1], (0, "back"), None),
        # noticed a step late, and traced back to its batch by a second way back, which halves nothing; in a stage's
        # first step and within it
        ("gradient", SPOILED - 1, [SPOILED - 1], ("back", "second"), FreezeRecipe(epochs=1)),
        ("gradient", SPOILED, [SPOILED], (), None),
    ],
)
def test_training_goes_on_without_the_batch_and_so_does_one_that_is_killed(
    kind, number, halved, kills, freeze, spoiled, tmp_path
):
    spoiled.clear()
    spoiled.add(number)
    whole = new(tmp_path)
    ended, printed = train(whole, kind, on_nan="rollback", freeze=freeze)
    files = list(reversed(whole.states.files))
    values, arrays = whole.states.read()
    assert ended["epochs"] == 3 and all_finite(arrays)
    times = 2 if kind == "gradient" else 1
    assert facts(files[-1]) == ([number], halved) and printed.count("warning: ") == times
    assert "at epoch 2, step 2" in printed and printed.count("\n  block ") == 4 * times
    done = number - STEPS
    assert f"back to epoch 2, {done} step{'s' * (done != 1)} of it done, and leaves out" in printed
    assert f"the batch of epoch 2, step {done + 1}." in printed
    again = f"That of epoch 2, step {done + 2} is trained on again."
    assert (again in printed) == (kind == "gradient") and printed.count("is 0.5 of what it was") == times
    assert whole.metrics.read_text().count("\n") == 4
    rates = [int(row.split(",")[0]) for row in whole.learning_rate.read_text().splitlines()[1:]]
    assert rates == [step + 1 for step in range(3 * STEPS) if step != number]
    model = keras.saving.load_model(whole.last, compile=False)
    assert all_finite(map(ops.convert_to_numpy, model.variables))
    back = next(number for number, file in enumerate(files) if facts(file)[1])
    for kill in kills:
        second = next((at for at, file in enumerate(files) if facts(file)[0] == [number]), None)
        path = files[{"back": back, "second": second}.get(kill, kill)]
        run = new(tmp_path, f"killed {kill}")
        run.states.folder.mkdir()
        shutil.copy(path, run.states.folder)
        assert train(run, kind, resume=True, on_nan="rollback", freeze=freeze)[0] == ended
        found, there = run.states.read()
        assert all(np.array_equal(a, b) for a, b in zip(arrays, there, strict=True)) and len(arrays) == len(there)
        for name in ("non_finite", "checkpoints", "early_stopping"):
            assert found["memories"][name] == values["memories"][name]
        assert run.learning_rate.read_bytes() == whole.learning_rate.read_bytes()


@pytest.mark.parametrize(
    ("kind", "number", "says"),
    [
        ("loss", SPOILED, r"The loss is nan at epoch 2, step 2 .*loss nan.*learning_rate, clip_norm=1(.|\n)*block \d"),
        ("gradient", 2, r"Weights are not finite at epoch 1, step 3 \(loss [\d.]+\)(.|\n)*block \d"),
    ],
)
def test_item_66_training_stops_and_keeps_what_is_good(kind, number, says, spoiled, tmp_path):
    spoiled.clear()
    spoiled.add(number)
    run = new(tmp_path)
    with pytest.raises(FloatingPointError, match=says):
        train(run, kind)
    position = read(run.states.files[0])[0]["memories"]["position"]
    assert position["epoch"] * STEPS + position["step"] == number
    assert all_finite(run.states.read()[1]) and run.last.exists() == (number > STEPS)


def test_gradients_that_the_loss_scale_skips_are_no_fault(spoiled, tmp_path):
    spoiled.add(1)
    keras.config.set_dtype_policy("mixed_float16")
    run = new(tmp_path)
    ended, printed = train(run, "gradient", epochs=1)
    assert ended["epochs"] == 1 and "warning" not in printed and facts(run.states.files[0]) == ([], [])


def test_weights_that_are_not_finite_from_the_beginning_leave_nothing_to_go_back_to(spoiled, tmp_path, monkeypatch):
    made = network("loss")
    made.weights[0].assign(np.full(made.weights[0].shape, np.nan))
    monkeypatch.setattr(sys.modules[__name__], "network", lambda kind: made)
    with pytest.raises(FloatingPointError, match="The loss is nan at epoch 1, step 1"):
        train(new(tmp_path), "loss", on_nan="rollback")


class Steps(list):
    """A loader of which the length and the names of a batch count."""

    left_out = frozenset()

    def names_of(self, epoch, step):
        return [f"{epoch}/{step}"]


def at(number, on_nan="rollback"):
    position = Position(Steps(range(10)))
    position.epoch, position.step = divmod(number, 10)
    return NonFinite(position, on_nan)


def test_after_three_times_without_an_end_of_an_epoch_it_stops(monkeypatch):
    monkeypatch.setattr(NonFinite, "_weights_are_finite", lambda self: True)
    one = at(12)

    def fail(kind, says=None):
        with pytest.raises(kind, match=says) as raised:
            one.on_train_batch_end(0, {"loss": np.inf})
        return raised.value

    for count in range(MOST):
        one.go_back(fail(GoBack, rf"The loss is inf at epoch 2, step {3 + count} \(loss inf\)"))
        assert one.factor == 0.5 ** (count + 1) and one.position.step == 3 + count
    fail(FloatingPointError, f"at epoch 2, step 6 .*went back {MOST} times without ending an epoch. Try a lower")
    one.on_epoch_end(0)  # one that was done before
    fail(FloatingPointError)
    one.on_epoch_end(1)
    fail(GoBack)


def test_an_image_that_spoils_a_batch_of_each_epoch_stops_training_in_the_end(monkeypatch):
    monkeypatch.setattr(NonFinite, "_weights_are_finite", lambda self: True)
    one = at(0)
    for epoch in range(MOST_IN_ALL):
        one.position.epoch, one.position.step = epoch, 3
        with pytest.raises(GoBack) as raised:
            one.on_train_batch_end(0, {"loss": np.nan})
        one.go_back(raised.value)
        one.on_epoch_end(epoch)
    again = at(0)
    again.remember(one.memory())
    again.position.epoch, again.position.step = MOST_IN_ALL, 3
    with pytest.raises(FloatingPointError, match=f"went back {MOST_IN_ALL} times. An image .*Try a lower"):
        again.on_train_batch_end(0, {"loss": np.nan})


def test_a_batch_that_was_wrongly_blamed_costs_nothing():
    one = at(12)
    for _ in range(MOST):  # the last of those that are allowed too
        one.go_back(GoBack("", one.position.number, by_weights=False))
    before = one.memory()
    one.position.epoch, one.position.step = 1, 1  # the saved state
    one._last = 11
    with pytest.raises(GoBack, match="at epoch 2, step 2") as raised:
        one._raise("Weights are not finite", "", by_weights=True)
    one.go_back(raised.value)
    after = one.memory()
    assert after == {**before, "noticed": 11} and one.position.left_out == {11, 12, 13}


def test_an_epoch_of_which_all_batches_are_left_out_has_no_loss(spoiled, tmp_path):
    spoiled.clear()
    spoiled.update(range(STEPS, 2 * STEPS))
    run = new(tmp_path)
    ended, printed = train(run, "loss", on_nan="rollback")
    with run.metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["loss"] != "" for row in rows] == [True, False, True] and all(row["val_loss"] for row in rows)
    assert ended["epochs"] == 3 and "epoch 2/3" in printed and printed.count("no step") == 1
    rates = [int(row.split(",")[0]) for row in run.learning_rate.read_text().splitlines()[1:]]
    assert rates == [1, 2, 3, 7, 8, 9]


def test_rates_are_halved_from_where_training_went_back_and_batches_left_out_are_no_updates():
    one = at(12)
    one.position.leave_out(14)
    one.halved = [12]
    rate = one.rate(lambda update: 100 - update, begin=10)
    assert [rate(n) for n in range(7)] == [100, 99, 49, 48.5, 48, 48, 47.5]


def test_the_position_passes_over_what_is_left_out():
    position = at(12).position
    position.stage = 1
    assert position.end(9) == 2 and position.steps_left() == 8 and not position.new_stage
    position.step = 0
    position.leave_out(10)
    assert (position.epoch, position.step) == (1, 1) and position.new_stage and position.new_epoch
    assert position.end(9) == 2 and position.steps_left() == 9
    position.leave_out(12)
    assert position.step == 1 and position.steps_left() == 8
    position.on_train_batch_end(0)
    assert position.step == 3 and not position.new_stage and not position.new_epoch
    position.leave_out(20)
    position.leave_out(41)
    position.next_epoch()
    assert (position.epoch, position.step) == (2, 1)
    position.next_epoch()
    assert (position.epoch, position.step, position.end(9), position.end(4)) == (3, 0, 4, 4)
    memory = position.memory()
    again = at(0).position
    again.remember(memory)
    assert again.left_out == {10, 12, 20, 41} and again.number == 30 and again.memory().keys() == memory.keys()


def test_a_position_before_an_epoch_with_a_batch_left_out_ends_there():
    position = at(20).position
    position.leave_out(45)
    assert position.end(9) == 4 and position.end(3) == 3
