"""The line of an epoch, the bar and its plain lines, and the time left."""

import io
import types

import blocks
import pytest
from rich.console import Console

from visiontasks.training import progress
from visiontasks.training.interrupt import Interrupt
from visiontasks.training.progress import Pace, Progress, duration, main_metrics

LOGS = {"loss": 1.23456, "dice_loss": 0.5, "val_loss": 12345.6, "val_dice_loss": 0.4, "val_score": 0.8, "val_dice": 0.7}
LOGS |= {"val_mean_iou": 0.8, "val_pixel_accuracy": 0.9, "val_other": 0.1}


def task(main):
    return types.SimpleNamespace(main_metric=main)


class Run:
    """A training of two epochs of three steps on a clock of its own, and what it prints."""

    def __init__(self, monkeypatch, tasks, epochs=2, terminal=False, seconds=1):
        self.now, self.seconds = 0.0, seconds
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)
        self.file = io.StringIO()
        self.checkpoints, self.interrupt = types.SimpleNamespace(best_epoch=None), Interrupt()
        console = Console(file=self.file, force_terminal=terminal, width=120, soft_wrap=True, highlight=False)
        self.position = blocks.position(3)
        self.progress = Progress(console, self.position, epochs, tasks, self.checkpoints, self.interrupt)

    def step(self, batch):
        self.position.on_train_batch_end(batch)
        self.progress.on_train_batch_end(batch, {"loss": 1.0})

    def epoch(self, number, logs, best):
        self.progress.on_epoch_begin(number)
        for batch in range(3):
            self.now += self.seconds
            self.step(batch)
        self.now += self.seconds
        self.checkpoints.best_epoch = number + 1 if best else self.checkpoints.best_epoch
        self.progress.on_epoch_end(number, logs)
        self.position.next_epoch()


def test_an_epoch_is_one_line_and_the_best_is_marked(monkeypatch):
    made = Run(monkeypatch, {"head": task("mean_iou")})
    made.progress.on_train_begin()
    made.epoch(0, LOGS, best=True)
    made.epoch(1, LOGS, best=False)
    lines = made.file.getvalue().splitlines()
    line = "epoch 1/2   0:04  loss 1.2346  val loss 1.235e+04  mean_iou 0.8000  dice 0.7000"
    assert lines == ["compiling…", line + " *", line.replace("1/2", "2/2")]


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("seconds", [0.1, 3000])
def test_the_longest_line_fits_100_columns_with_the_same_metrics(heads, seconds, monkeypatch):
    tasks = {f"a_long_name_{n}": task("mean_iou") for n in range(heads)}
    logs = LOGS if heads == 1 else {**LOGS, **{f"val_{name}/mean_iou": 0.5 for name in tasks}}
    made = Run(monkeypatch, tasks, epochs=100, seconds=seconds)
    made.epoch(98, logs, best=True)
    line = made.file.getvalue().splitlines()[-1]
    assert len(line) <= progress.WIDTH and line.endswith(" *") and duration(4 * seconds) in line
    assert ("mean_iou 0.8000" if heads == 1 else "score 0.8000") in line
    assert ("pixel_accuracy" in line) is False or seconds < 1


def test_without_a_terminal_a_line_comes_each_minute(monkeypatch):
    made = Run(monkeypatch, {"head": task("mean_iou")}, seconds=40)
    made.progress.on_train_begin()
    made.epoch(0, LOGS, best=False)
    plain = [line for line in made.file.getvalue().splitlines() if "step" in line]
    # 40 s after the first step, which compiles; four steps are left
    assert plain == ["epoch 1/2  step 2/3  loss 1.0000  2:40 left"]


def test_a_terminal_sees_compiling_then_the_time_left(monkeypatch):
    made = Run(monkeypatch, {"head": task("mean_iou")}, terminal=True)
    made.progress.on_train_begin()
    made.progress.on_epoch_begin(0)
    note = lambda: made.progress._bar.tasks[0].fields["note"]  # noqa: E731
    assert note() == "compiling…"
    made.step(0)
    assert note() == "loss 1.0000"
    made.now += 2
    made.step(1)
    assert note() == "loss 1.0000  0:08 left"
    made.interrupt.stop.asked = "SIGINT"
    made.progress.on_train_batch_end(1, {"loss": 1.0})
    assert note() == "stopping…"
    made.progress.on_epoch_end(0, {"loss": 1.0, "val_score": float("nan")})
    assert "stopped after step 2 of 3" in made.file.getvalue() and made.progress._bar is None


def test_the_pace_counts_validation_and_not_compiling():
    now = [0.0]
    pace = Pace(steps=4, epochs=3, clock=lambda: now[0])
    for done, seconds in ((1, 100), (2, 2), (3, 2), (4, 2)):
        now[0] += seconds
        pace.end_step(0, done)
        assert pace.left() == {1: None, 2: 20, 3: 18, 4: 16}[done]
    now[0] += 10  # validation
    for done in (1, 2, 3, 4):
        now[0] += 2
        pace.end_step(1, done)
    assert pace.left() == 4 * (3 * 2 + 10 + 4 * 2) / 7
    pace.end_step(2, 4)
    assert pace.left() is None  # the last validation


def test_of_several_heads_the_score_and_each_main_metric_are_told():
    tasks = {"regions": task("mean_iou"), "subject": task("top1")}
    logs = {"val_score": 1, "val_regions/mean_iou": 1, "val_regions/dice": 1, "val_subject/top1": 1}
    assert main_metrics(tasks, logs) == ["score", "regions/mean_iou", "subject/top1"]
    assert main_metrics({"head": task("mean_iou")}, LOGS) == ["mean_iou", "dice", "pixel_accuracy"]


def test_durations():
    assert [duration(s) for s in (0, 59.6, 61, 3600, 36_061)] == ["0:00", "1:00", "1:01", "1:00:00", "10:01:01"]
