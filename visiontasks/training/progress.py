"""`Progress`: a bar with the remaining time during training, and one line per epoch."""

import math
import time
from collections.abc import Callable

import keras

WIDTH = 100  # columns of an epoch's line
MOST_METRICS = 3
PLAIN_SECONDS = 60  # between lines if the output is not a terminal


class Progress(keras.callbacks.Callback):
    """A bar over the steps of an epoch, then one line with the time, the losses and the main metrics.

    If the output is not a terminal, a line per minute replaces the bar. "*" marks the best epoch so far.

    Args:
        console: a rich Console.
        position: the Position, which comes before this one.
        epochs: epochs of all stages.
        tasks: {head name: Task}.
        checkpoints: the `Checkpoints` callback, which comes before this one.
        interrupt: the `Interrupt` callback.
    """

    def __init__(self, console, position, epochs: int, tasks: dict, checkpoints, interrupt):
        super().__init__()
        self.console, self.position, self.epochs, self.tasks = console, position, epochs, tasks
        self.steps = len(position.loader)
        self.checkpoints, self.interrupt = checkpoints, interrupt
        self.pace = Pace(self.steps, epochs, time.monotonic)
        self._bar = self._task = None
        self._begun = self._told = 0.0

    def on_train_begin(self, logs=None):
        # a new stage compiles again, and its steps take a different time
        self.pace = Pace(self.steps, self.epochs, time.monotonic)
        if not self.console.is_terminal:
            self.console.print("compiling…")

    def on_epoch_begin(self, epoch, logs=None):
        self._begun = self._told = time.monotonic()
        self._number = epoch
        if self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            text = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
            self._bar = Progress(
                text[0], BarColumn(), MofNCompleteColumn(), text[1], console=self.console, transient=True
            )
            note = "" if self.pace.compiled else "compiling…"
            self._task = self._bar.add_task(
                self._epoch(epoch), total=self.steps, note=note, completed=self.position.step
            )
            self._bar.start()

    def on_train_batch_end(self, batch, logs=None):
        self.pace.end_step(self._number, self.position.step)
        self._show("validating" if self.position.step == self.steps else f"loss {number(logs['loss'])}")

    def _show(self, note):
        left = self.pace.left()
        notes = [note, *([f"{duration(left)} left"] if left is not None else [])]
        if self.interrupt.asked:
            notes = ["stopping…"]
        if self._bar:
            self._bar.update(self._task, completed=self.position.step, note="  ".join(notes))
        elif time.monotonic() - self._told >= PLAIN_SECONDS:
            self._told = time.monotonic()
            step = f"step {self.position.step}/{self.steps}"
            self.console.print("  ".join([self._epoch(self._number), step, *notes]))

    def on_epoch_end(self, epoch, logs=None):
        self.stop()
        seconds = time.monotonic() - self._begun
        loss = "no step" if math.isnan(logs["loss"]) else f"loss {number(logs['loss'])}"  # all batches left out
        cells = [f"{self._epoch(epoch)}  {duration(seconds):>5}", loss]
        if self.interrupt.asked:
            cells.append(f"stopped after step {self.position.step} of {self.steps}")
        if "val_loss" in logs:
            cells.append(f"val loss {number(logs['val_loss'])}")
        line = "  ".join(cells)
        for name in main_metrics(self.tasks, logs):
            cell = f"  {name} {number(logs[f'val_{name}'])}"
            # leaves room for the longest time and the mark, so that all epochs show the same metrics
            if len(line) + len(cell) + len("0:00:00") - max(5, len(duration(seconds))) + 2 <= WIDTH:
                line += cell
        self.console.print(line + (" *" if self.checkpoints.best_epoch == epoch + 1 else ""))

    def _epoch(self, epoch):
        return f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"

    def on_train_end(self, logs=None):
        self.stop()

    def stop(self):
        """Remove the bar from the screen."""
        if self._bar:
            self._bar.stop()
            self._bar = None


class Pace:
    """Estimates the remaining time of a training from the time per step so far, validation included.

    The first step, which compiles, is not counted. `clock` returns seconds.
    """

    def __init__(self, steps: int, epochs: int, clock: Callable[[], float]):
        self.steps, self.epochs, self.clock = steps, epochs, clock
        self._first = self._last = None  # (step, time), of steps numbered through all epochs

    @property
    def compiled(self) -> bool:
        """Whether a step is done."""
        return self._first is not None

    def end_step(self, epoch: int, done: int):
        """Record that `done` steps of `epoch`, counted from 0, have ended."""
        self._last = epoch * self.steps + done, self.clock()
        self._first = self._first or self._last

    def left(self) -> float | None:
        """Seconds until the end of the last epoch; None before the second step, and after the last."""
        (first, begun), (step, now) = self._first, self._last
        if step in (first, self.epochs * self.steps):  # a validation follows, of which nothing is known in one epoch
            return None
        return (now - begun) / (step - first) * (self.epochs * self.steps - step)


def main_metrics(tasks: dict, logs: dict) -> list[str]:
    """The metrics of an epoch's line: a head's main metric and the next two; with several heads the main metrics.

    Args:
        tasks: {head name: Task}.
        logs: of an epoch, with "val_NAME" for each metric.
    """
    if len(tasks) > 1:
        wanted = ["score", *(f"{name}/{task.main_metric}" for name, task in tasks.items())]
        return [name for name in wanted if f"val_{name}" in logs]
    (task,) = tasks.values()
    names = [key[4:] for key in logs if key.startswith("val_") and not key.endswith(("loss", "val_score"))]
    return sorted(names, key=lambda name: name != task.main_metric)[:MOST_METRICS]


def duration(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def number(value: float) -> str:
    """A loss or a metric in few characters."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"
