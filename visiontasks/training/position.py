"""`Position`: where a training is, and the data with it."""

import time

import keras


class Position(keras.callbacks.Callback):
    """Where a training is: of its callbacks before those that read it.

    Batches are numbered from 0 through all epochs.

    Attributes:
        epoch: whole epochs that are done.
        step: batches of the running epoch that are done, or left out.
        stage: the first epoch of the stage.
    """

    def __init__(self, loader):
        super().__init__()
        self.loader, self.epoch, self.step, self.stage = loader, 0, 0, 0
        self.loader.left_out = set()
        self._used, self._begun = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Time used, by earlier processes too."""
        return self._used + time.monotonic() - self._begun

    @property
    def number(self) -> int:
        """The number of the next batch."""
        return self.epoch * len(self.loader) + self.step

    @property
    def left_out(self) -> set[int]:
        """The numbers of batches that are not trained on."""
        return self.loader.left_out

    @property
    def new_epoch(self) -> bool:
        """Whether no step of the epoch is done."""
        return self._begins(self.epoch)

    @property
    def new_stage(self) -> bool:
        """Whether no step of the stage is done."""
        return self._begins(self.stage)

    def _begins(self, epoch):
        return all(number in self.left_out for number in range(epoch * len(self.loader), self.number))

    def end(self, last: int) -> int:
        """The epoch before which Keras's `fit` ends, at most `last`: its epochs have equally many steps."""
        some = sorted({number // len(self.loader) for number in self.left_out})
        if self.step or self.epoch in some:
            return self.epoch + 1
        return min([epoch for epoch in some if epoch > self.epoch] + [last])

    def steps_left(self) -> int:
        """Steps of the running epoch that are to be done."""
        left = range(self.number, (self.epoch + 1) * len(self.loader))
        return sum(number not in self.left_out for number in left)

    def leave_out(self, number: int):
        """Train without the batch of a number, which is not done yet."""
        self.left_out.add(number)
        self._pass()

    def _pass(self):
        while self.step < len(self.loader) and self.number in self.left_out:
            self.step += 1

    def memory(self) -> dict:
        place = {"epoch": self.epoch, "step": self.step, "left_out": sorted(self.left_out)}
        return {**place, "seconds": self.seconds}

    def remember(self, memory: dict):
        self.epoch, self.step = memory["epoch"], memory["step"]
        self.loader.left_out = set(memory["left_out"])
        self._used = max(memory["seconds"], self.seconds)  # a way back gives no time back
        self._begun = time.monotonic()

    def next_epoch(self):
        """The running epoch is done, its validation too."""
        self.epoch, self.step = self.epoch + 1, 0
        self._pass()
        self.loader.epoch, self.loader.step = self.epoch, 0  # Keras looks at its first batches

    def on_epoch_begin(self, epoch, logs=None):
        self.loader.epoch, self.loader.step = self.epoch, self.step  # whatever Keras has read before

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self._pass()
