"""`Interrupt`: a signal or the stop file ends training after the running step."""

from pathlib import Path

import keras

from visiontasks import signals


class Interrupt(keras.callbacks.Callback):
    """Turns Ctrl-C, SIGTERM, SIGHUP and a stop file into a stop after the running step, whose state is saved.

    `handling()` is held around all stages: a signal between two of them counts too. A second one of its kind ends
    training at once. Among the callbacks of an epoch's end it stands after the one that scores and before those that
    write.

    Args:
        file: the stop file, looked for at the ends of steps; None: there is none.

    Attributes:
        stop: what has asked.
        finished: epochs that ended with their whole validation.
    """

    def __init__(self, file: str | Path | None = None):
        super().__init__()
        self.stop, self.finished = signals.Stop(file), 0

    @property
    def asked(self) -> bool:
        """Whether a signal has come, or the stop file was there at the last look."""
        return bool(self.stop.asked)

    def handling(self):
        """A context in which signals come here."""
        return self.stop.handling(self._end)

    def _end(self):
        # not `self.model`: with JAX that sets the model's variables, and within a step to arrays that are gone; Keras
        # has no public way past it
        if self._model is not None:
            self._model.stop_training = True

    def on_train_batch_end(self, batch, logs=None):
        if self.stop.poll():  # Keras clears the flag when `fit` starts
            self._end()

    def on_epoch_end(self, epoch, logs=None):
        if not self.asked:
            self.finished = epoch + 1
            return
        for key in [key for key in logs if key.startswith("val_")]:
            del logs[key]  # those of a few batches are not the validation set's
        logs["val_score"] = float("nan")
