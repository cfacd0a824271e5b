"""`Interrupt`: the first signal ends training after the running step; a second one of its kind ends it at once."""

import signal

import keras

from visiontasks import signals


class Interrupt(keras.callbacks.Callback):
    """Turns Ctrl-C, SIGTERM and SIGHUP into a stop after the running step, so that the checkpoint is written.

    `handling()` is held around all stages: a signal between two of them counts too. Among the callbacks of an epoch's
    end it stands after the one that scores and before those that write.

    Attributes:
        asked: whether a signal has come.
        finished: epochs that ended with their whole validation.
    """

    def __init__(self):
        super().__init__()
        self.asked, self.finished, self._seen = False, 0, set()

    def handling(self):
        """A context in which signals come here."""
        return signals.handled(self._ask)

    def _ask(self, number, frame):
        if number in self._seen:
            signal.signal(number, signal.default_int_handler)
            raise KeyboardInterrupt
        self._seen.add(number)
        self.asked = True  # nothing is printed: the stream may be the one that was interrupted
        if self.model is not None:
            self.model.stop_training = True

    def on_train_batch_end(self, batch, logs=None):
        if self.asked:  # Keras clears the flag when `fit` starts
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if not self.asked:
            self.finished = epoch + 1
            return
        for key in [key for key in logs if key.startswith("val_")]:
            del logs[key]  # those of a few batches are not the validation set's
        logs["val_score"] = float("nan")
