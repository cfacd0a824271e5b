"""What happens around Keras's `fit`: scoring, checkpoints, progress, stopping. Keras's own callbacks do the rest."""

import signal
import threading
from pathlib import Path

import keras
import numpy as np

from visiontasks.evaluation.evaluator import evaluate
from visiontasks.training.run_directory import replace_atomically


class Score(keras.callbacks.Callback):
    """Adds the validation set's losses and metrics to an epoch's logs: `val_loss`, `val_score`, `val_mean_iou`, ….

    Both come from one pass over it, so `fit` itself is given no validation data. Callbacks behind this one find them.
    """

    def __init__(self, loader, tasks: dict, interrupt: "Interrupt"):
        super().__init__()
        self.loader, self.tasks, self.interrupt = loader, tasks, interrupt

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = _learning_rate(self.model.optimizer)
        evaluation = None if self.interrupt.asked else self._evaluate()
        if evaluation is None:
            logs["val_score"] = float("nan")
            return
        logs["val_score"] = evaluation.score
        # one row of a table cannot hold every class: their own values are in the final evaluation
        overall = [key for key in evaluation.metrics if key.count("/") == (len(self.tasks) > 1)]
        values = evaluation.losses | {key: evaluation.metrics[key] for key in overall}
        logs.update({f"val_{key}": value for key, value in values.items()})

    def _evaluate(self):
        """The evaluation, or None where Ctrl-C came in between."""

        def stop(_):
            if self.interrupt.asked:
                raise InterruptedError

        try:
            return evaluate(self.model, self.loader, self.tasks, on_batch=stop, losses=True)
        except InterruptedError:
            return None


def _learning_rate(optimizer) -> float:
    """The rate of the heads' variables now."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        optimizer = optimizer.optimizers[-1]  # the default one; the backbone's, slower, come before
    return float(optimizer.learning_rate)


class MovingAverage(keras.callbacks.SwapEMAWeights):
    """Keras's: what is scored and saved after an epoch are the averages of the weights."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if keras.backend.backend() == "jax":
            # in the last epoch Keras makes weights and averages the same arrays, of which JAX then takes one away
            for variable in self.model.optimizer.variables:
                variable.assign(keras.ops.copy(variable))


class Checkpoints(keras.callbacks.Callback):
    """Saves `last` after each epoch, and `best` when `val_score` is better than ever; never a half-written file."""

    def __init__(self, best: Path, last: Path):
        super().__init__()
        self.best, self.last = best, last
        self.best_score, self.best_epoch = -float("inf"), None

    def on_epoch_end(self, epoch, logs=None):
        replace_atomically(self.last, self.model.save)
        score = logs["val_score"]
        if score > self.best_score:
            self.best_score, self.best_epoch = score, epoch + 1
            replace_atomically(self.best, lambda path: path.write_bytes(self.last.read_bytes()))


class Order(keras.callbacks.Callback):
    """Makes epoch k of `fit` epoch k of the loader, whatever Keras peeked at before."""

    def __init__(self, loader):
        super().__init__()
        self.loader = loader

    def on_epoch_begin(self, epoch, logs=None):
        self.loader.epoch = epoch


class StopOnNaN(keras.callbacks.Callback):
    """Stops training at the first step whose loss is not a number, and names the files of its batch.

    Raises:
        FloatingPointError: with the epoch, the step, the loss terms and the files.
    """

    def __init__(self, loader):
        super().__init__()
        self.loader, self.epoch = loader, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if np.isfinite(logs["loss"]):
            return
        terms = ", ".join(f"{key} {value}" for key, value in logs.items())
        files = "\n  ".join(self.loader.names_of(self.epoch, batch))
        raise FloatingPointError(
            f"The loss is {logs['loss']} at epoch {self.epoch + 1}, step {batch + 1} ({terms}). Try a lower "
            f"train.optimizer.learning_rate, train.clip_norm=1 or train.precision=float32. Its pictures:\n  {files}"
        )


class Interrupt(keras.callbacks.Callback):
    """Turns the first Ctrl-C (or SIGTERM) into a stop after the running step; then the checkpoint is written."""

    def __init__(self):
        super().__init__()
        self.asked, self._before = False, {}

    def _ask(self, number, frame):
        self.asked = True
        self.model.stop_training = True
        signal.signal(number, self._before[number])  # a second one stops at once

    def on_train_begin(self, logs=None):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)

    def on_train_end(self, logs=None):
        self.restore()

    def restore(self):
        """Give the signals back to whoever had them."""
        while self._before:
            signal.signal(*self._before.popitem())

    def on_train_batch_end(self, batch, logs=None):
        # Keras clears the flag when fit starts; a signal before that must not be lost
        if self.asked:
            self.model.stop_training = True


class Progress(keras.callbacks.Callback):
    """A progress bar over the epoch's steps, and one line an epoch with the loss and the scores."""

    def __init__(self, console, steps: int, epochs: int):
        super().__init__()
        self.console, self.steps, self.epochs = console, steps, epochs
        self._bar = self._task = None

    def on_epoch_begin(self, epoch, logs=None):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn(f"epoch {epoch + 1}/{self.epochs}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=self.steps, note="")
        self._bar.start()

    def on_train_batch_end(self, batch, logs=None):
        self._bar.update(self._task, completed=batch + 1, note=f"loss {logs['loss']:.4f}")

    def on_test_begin(self, logs=None):
        if self._bar:
            self._bar.update(self._task, note="validating")

    def on_epoch_end(self, epoch, logs=None):
        self.stop()
        shown = {key: value for key, value in logs.items() if "loss" in key or key.startswith("val_")}
        text = "  ".join(f"{key} {value:.4f}" for key, value in shown.items() if "/" not in key)
        self.console.print(f"epoch {epoch + 1}/{self.epochs}  {text}", highlight=False)

    def on_train_end(self, logs=None):
        self.stop()

    def stop(self):
        if self._bar:
            self._bar.stop()
            self._bar = None


class Curves(keras.callbacks.Callback):
    """Draws `curves.png` anew after each epoch."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch, logs=None):
        self.run.draw_curves()
