"""Keras callbacks of a training: validation, weight averages, checkpoints, data order, NaN."""

from pathlib import Path

import keras
import numpy as np

from visiontasks.evaluation.evaluator import evaluate
from visiontasks.evaluation.results import replace_atomically
from visiontasks.training.interrupt import Interrupt


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

        def stop(_):
            if self.interrupt.asked:
                raise InterruptedError

        try:
            return evaluate(self.model, self.loader, self.tasks, on_batch=stop, losses=True)
        except InterruptedError:
            return None


def _learning_rate(optimizer) -> float:
    """The current learning rate of the heads."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        optimizer = optimizer.optimizers[-1]  # the default one; the backbone's slower ones come first
    return float(optimizer.learning_rate)


class MovingAverage(keras.callbacks.SwapEMAWeights):
    """Keras's callback: validation and checkpoints use the averages of the weights."""

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if keras.backend.backend() == "jax":
            # after the last epoch Keras shares arrays between weights and averages, which JAX then deletes
            for variable in self.model.optimizer.variables:
                variable.assign(keras.ops.copy(variable))


class Checkpoints(keras.callbacks.Callback):
    """Saves `last` after each epoch, and `best` if `val_score` improves; never a half-written file."""

    def __init__(self, best: Path, last: Path):
        super().__init__()
        self.best, self.last = best, last
        self.best_score, self.best_epoch = -float("inf"), None

    def on_epoch_end(self, epoch, logs=None):
        replace_atomically(self.last, self.model.save, "dir")
        score = logs["val_score"]
        if score > self.best_score:
            self.best_score, self.best_epoch = score, epoch + 1
            replace_atomically(self.best, lambda path: path.write_bytes(self.last.read_bytes()), "dir")


class Order(keras.callbacks.Callback):
    """Sets the loader's epoch to that of `fit`, whatever Keras has read before."""

    def __init__(self, loader):
        super().__init__()
        self.loader = loader

    def on_epoch_begin(self, epoch, logs=None):
        self.loader.epoch = epoch


class StopOnNaN(keras.callbacks.Callback):
    """Stops training at the first step with a loss that is not finite, and names the files of its batch.

    Raises:
        FloatingPointError: names the epoch, the step, the loss terms and the files.
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
            f"learning_rate, clip_norm=1 or precision=float32. Its images:\n  {files}"
        )
