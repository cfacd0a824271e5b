"""A signal at any moment of any stage: the running step ends, and the run's folder is whole."""

import csv
import dataclasses
import functools
import multiprocessing
import os
import signal

import keras
import numpy as np
import pytest
from blocks import classifier, during_validation, run

from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.shapes import Shapes
from visiontasks.recipe.schema import FreezeRecipe, TrainRecipe
from visiontasks.training.callbacks import Score
from visiontasks.training.fit import fit
from visiontasks.training.interrupt import Interrupt
from visiontasks.training.processes import Processes

STEPS = 3  # of an epoch
STAGES = TrainRecipe(
    epochs=4, freeze=FreezeRecipe(epochs=2), optimizer={"name": "sgd"}, schedule={"name": "constant"}, early_stopping=3
)


class Stop(keras.callbacks.Callback):
    """Raises a signal at a moment of an epoch, and counts the steps after it."""

    def __init__(self, number, epoch, moment, monkeypatch):
        super().__init__()
        self.number, self.at, self.raised, self.later = number, (epoch, moment), False, 0
        self.epoch = None
        during_validation(monkeypatch, lambda: self.reach("validation"))

    def reach(self, moment):
        if (self.epoch, moment) == self.at and not self.raised:
            self.raised = True
            signal.raise_signal(self.number)

    def on_train_begin(self, logs=None):
        self.reach("start")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.later += self.raised
        self.reach(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.reach("end")


@pytest.mark.parametrize(
    ("number", "epoch", "moment"),
    [
        (signal.SIGINT, 0, 0),
        (signal.SIGTERM, 0, "validation"),
        (signal.SIGHUP, 1, "end"),  # between the stages
        (signal.SIGINT, 1, "start"),  # of the second stage, before its first step
        (signal.SIGTERM, 2, 0),
        (signal.SIGHUP, 2, STEPS - 1),
        (signal.SIGINT, 2, "validation"),
    ],
)
def test_a_signal_ends_training_after_the_running_step(number, epoch, moment, tmp_path, monkeypatch):
    before, stop = signal.getsignal(number), Stop(number, epoch, moment, monkeypatch)
    made, ended = run(tmp_path, classifier(), STAGES, [stop], count=4 * STEPS)
    assert stop.raised and signal.getsignal(number) is before
    assert stop.later == (moment == "start")  # Keras runs the step that it prepares
    finished = epoch + (moment in ("end", "start"))
    assert ended["interrupted"] and ended["epochs"] == finished
    with made.metrics.open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert len(rows) == finished + (moment != "end") and all(len(row) == len(header) for row in rows)
    scores = [row[header.index("val_score")] for row in rows]
    assert all(scores[:finished]) and not any(scores[finished:])
    keras.saving.load_model(made.last)
    assert made.best.is_file() == (finished > 0) and made.curves.is_file()
    assert not list(made.path.rglob(".writing*"))


def test_a_signal_after_the_last_step_of_several_processes_counts_too(tmp_path, monkeypatch):
    monkeypatch.setattr(Processes, "any", lambda self, flag: flag)  # the other one has got none
    monkeypatch.setattr(Processes, "collect", lambda self, value: [value, ""])
    monkeypatch.setattr(
        "visiontasks.training.fit.JointScore", lambda val, tasks, interrupt, _: Score(val, tasks, interrupt)
    )
    monkeypatch.setattr("blocks.fit", functools.partial(fit, processes=Processes(0, 2)))
    stop = Stop(signal.SIGTERM, 0, "end", monkeypatch)
    _, ended = run(tmp_path, classifier(), TrainRecipe(epochs=1), [stop])
    assert stop.raised and ended["interrupted"] and ended["stopped_by"] == "SIGTERM" and ended["epochs"] == 1


@pytest.mark.parametrize("moment", [1, "validation"])
def test_a_stop_file_ends_training_after_the_running_step_and_is_named(moment, tmp_path, monkeypatch):
    class Notice(Stop):
        def reach(self, moment):
            if (self.epoch, moment) == self.at and not self.raised:
                self.raised = True
                (tmp_path / "notice").touch()

    monkeypatch.setattr("visiontasks.signals.LOOK_SECONDS", 0)
    stop = Notice(None, 1, moment, monkeypatch)
    recipe = dataclasses.replace(STAGES, stop_file=str(tmp_path / "notice"))
    made, ended = run(tmp_path, classifier(), recipe, [stop], count=4 * STEPS)
    # the file is looked for at the end of the next step: Keras calls the callbacks in turn
    assert stop.raised and stop.later <= 1 and ended["epochs"] == 1
    assert ended["interrupted"] and ended["stopped_by"] == f"the stop file {tmp_path / 'notice'}"
    assert made.states.read()[0]["memories"]["position"]["step"] == STEPS


def test_a_second_signal_of_a_kind_ends_it_at_once(tmp_path):
    class Twice(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGHUP)  # as a session's end sends both
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, classifier(), TrainRecipe(epochs=2), [Twice()])
    assert signal.getsignal(signal.SIGTERM) is before


def test_validation_of_an_interrupted_epoch_is_left_out():
    interrupt = Interrupt()
    interrupt.stop.asked = "SIGINT"
    logs = {"loss": 1.0, "val_loss": 2.0, "val_top1": 0.5}
    interrupt.on_epoch_end(0, logs)
    assert set(logs) == {"loss", "val_score"} and np.isnan(logs["val_score"]) and interrupt.finished == 0


def test_ctrl_c_in_a_terminal_leaves_the_worker_processes_to_the_training():
    source = Shapes(24, size=(32, 32))
    loader = Loader(source, fields=("label",), size=(32, 32), batch=4, workers=2, worker_kind="processes")
    batches = iter(loader)
    next(batches), next(batches)  # one of each worker
    children = multiprocessing.active_children()
    for child in children:
        os.kill(child.pid, signal.SIGINT)
        os.kill(child.pid, signal.SIGHUP)
    assert len(children) == 2
    for child in children:
        child.join(0.5)
        assert child.is_alive()
    assert len(list(batches)) == 4
    loader.close()


def test_a_signal_leaves_the_variables_of_a_running_step_alone(monkeypatch):
    """With JAX, Keras's `Callback.model` sets them: within a step, to arrays that the step has taken."""

    class Model:
        stop_training = False

    interrupt, model = Interrupt(), Model()
    interrupt.set_model(model)
    monkeypatch.setattr(Interrupt, "model", property(lambda _: pytest.fail("the handler asks for the model")))
    with interrupt.handling():
        signal.raise_signal(signal.SIGTERM)
    assert interrupt.asked and model.stop_training
