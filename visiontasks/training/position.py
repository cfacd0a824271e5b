"""`Position`: where a training is, and the data with it."""

import time

import keras


class Position(keras.callbacks.Callback):
    """Where a training is: the first of its callbacks, which the others read.

    Attributes:
        epoch: whole epochs that are done.
        step: steps of the running epoch that are done.
        stage: the first epoch of the stage.
    """

    def __init__(self, loader):
        super().__init__()
        self.loader, self.epoch, self.step, self.stage = loader, 0, 0, 0
        self._used, self._begun = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Time used, by earlier processes too."""
        return self._used + time.monotonic() - self._begun

    @property
    def new_stage(self) -> bool:
        """Whether no step of the stage is done."""
        return (self.epoch, self.step) == (self.stage, 0)

    def memory(self) -> dict:
        return {"epoch": self.epoch, "step": self.step, "seconds": self.seconds}

    def remember(self, memory: dict):
        self.epoch, self.step, self._used = memory["epoch"], memory["step"], memory["seconds"]
        self._begun = time.monotonic()

    def next_epoch(self):
        """The running epoch is done, its validation too."""
        self.epoch, self.step = self.epoch + 1, 0
        self.loader.epoch, self.loader.step = self.epoch, 0  # Keras looks at its first batches

    def on_epoch_begin(self, epoch, logs=None):
        self.loader.epoch, self.loader.step = self.epoch, self.step  # whatever Keras has read before

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
