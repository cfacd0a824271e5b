"""Keras callbacks of a training: validation, weight averages, checkpoints, early stopping."""

import contextlib
import shutil
from pathlib import Path

import keras
import numpy as np

from visiontasks import signals
from visiontasks.evaluation.evaluator import evaluate
from visiontasks.training.interrupt import Interrupt
from visiontasks.writing import replace_atomically


class Score(keras.callbacks.Callback):
    """Adds the validation set's losses and metrics to an epoch's logs: `val_loss`, `val_score`, `val_mean_iou`, ….

    Both come from one pass over it, so `fit` itself gets no validation data. Callbacks after this one can read them.
    """

    def __init__(self, loader, tasks: dict, interrupt: Interrupt):
        super().__init__()
        self.loader, self.tasks, self.interrupt = loader, tasks, interrupt

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = _learning_rate(self.model.optimizer)
        evaluation = None if self.interrupt.asked else self._evaluate()
        if evaluation is None:
            logs["val_score"] = float("nan")
            return
        logs["val_score"] = evaluation.score
        # without each class's values, which are in the final evaluation
        overall = [key for key in evaluation.metrics if key.count("/") == (len(self.tasks) > 1)]
        values = evaluation.losses | {key: evaluation.metrics[key] for key in overall}
        logs.update({f"val_{key}": value for key, value in values.items()})

    def _evaluate(self):
        """The evaluation, or None after an interrupt."""

        try:
            check = self.interrupt.stop.check
            return evaluate(self.model, self.loader, self.tasks, on_batch=lambda _: check(), losses=True)
        except signals.Stopped:
            return None


def _learning_rate(optimizer) -> float:
    """The current learning rate of the heads."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        optimizer = optimizer.optimizers[-1]  # the default one; the backbone's slower ones come first
    return float(optimizer.learning_rate)


class MovingAverage(keras.callbacks.Callback):
    """Validation and checkpoints use the moving averages of the weights; training goes on with the weights.

    Keras's SwapEMAWeights swaps by sums, which rounds the weights (TensorFlow), and loses them after the last epoch.
    """

    def __init__(self):
        super().__init__()
        self._kept = []  # (variable, its value) of the weights while the averages are in their place

    @property
    def raw(self) -> dict[int, np.ndarray]:
        """{id of a variable: its weights} while the averages are in their place."""
        return {id(variable): value for variable, value in self._kept}

    def on_epoch_begin(self, epoch, logs=None):
        for variable, value in self._kept:
            variable.assign(value)
        self._kept = []

    def on_epoch_end(self, epoch, logs=None):
        pairs = list(_averages(self.model.optimizer))
        self._kept = [(variable, np.array(keras.ops.convert_to_numpy(variable))) for variable, _ in pairs]
        for variable, average in pairs:
            variable.assign(keras.ops.copy(average))  # JAX deletes what a step has taken, and what shares it


def _averages(optimizer):
    """(variable, its average) of each weight that an optimizer averages."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    for one in getattr(optimizer, "optimizers", [optimizer]):
        # both are private in Keras, which has no public way to the averages
        yield from zip(one._trainable_variables, one._model_variables_moving_average, strict=True)


class Checkpoints(keras.callbacks.Callback):
    """Saves `last` after each epoch, and `best` if `val_score` improves, without the optimizer."""

    def __init__(self, best: Path, last: Path):
        super().__init__()
        self.best, self.last = best, last
        self.best_score, self.best_epoch = -float("inf"), None

    def memory(self) -> dict:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def remember(self, memory: dict):
        self.best_score, self.best_epoch = memory["best_score"], memory["best_epoch"]

    def on_epoch_end(self, epoch, logs=None):
        with _without_optimizer(self.model):
            replace_atomically(self.last, self.model.save, "dir")
        score = logs["val_score"]
        if score > self.best_score:
            self.best_score, self.best_epoch = score, epoch + 1
            replace_atomically(self.best, lambda path: shutil.copyfile(self.last, path), "dir")


@contextlib.contextmanager
def _without_optimizer(model):
    """In this block a model is saved as if it had not been compiled: what goes on from there is in the saved state."""
    optimizer, compiled = model.optimizer, model.compiled
    model.optimizer, model.compiled = None, False
    try:
        yield
    finally:
        model.optimizer, model.compiled = optimizer, compiled


class EarlyStopping(keras.callbacks.Callback):
    """Stops training after `patience` epochs without a better `val_score`; what it has seen can be saved.

    Attributes:
        stopped: whether it has stopped training.
    """

    def __init__(self, patience: int):
        super().__init__()
        self.patience, self.best, self.waited, self.stopped = patience, -float("inf"), 0, False

    def memory(self) -> dict:
        return {"best": self.best, "waited": self.waited, "stopped": self.stopped}

    def remember(self, memory: dict):
        self.best, self.waited, self.stopped = memory["best"], memory["waited"], memory["stopped"]

    def on_epoch_end(self, epoch, logs=None):
        self.waited += 1  # of an epoch that was stopped within, this is not saved
        if logs["val_score"] > self.best:
            self.best, self.waited = logs["val_score"], 0
        if self.waited >= self.patience:
            self.stopped = self.model.stop_training = True
