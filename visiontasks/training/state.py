"""`TrainingState`: everything that decides what happens next in a training, saved on the fly and restored."""

import threading
import time

import keras
import numpy as np

from visiontasks.errors import UserError
from visiontasks.training.generations import Generations
from visiontasks.training.interrupt import Interrupt
from visiontasks.training.random_state import random_states, set_random_states
from visiontasks.training.versions import versions

SHARE = 0.01  # of a training's time that saving at the ends of epochs may take


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


class TrainingState(keras.callbacks.Callback):
    """Saves everything that decides what happens next, so that another process goes on bit for bit.

    That is: every variable of the model (weights, statistics, seed generators, running means of the losses) and of the
    optimizer (its moments, averages of the weights, counters, loss scale), the states of global random generators, the
    position, and what callbacks remember. It is saved every `minutes`, at the end of an epoch if that takes less than
    1% of the time, at an interrupt, and at the end of training. A save copies the variables; a thread writes them while
    training goes on.

    It is the last of the callbacks: what it saves has passed all others.

    Args:
        generations: where states are written.
        position: the Position.
        interrupt: the Interrupt.
        memories: {name: a callback with `memory()`, JSON-ready, and `remember(memory)`}.
        minutes: between saves within an epoch.
        raw: gives {id of a variable: its value} of weights that are replaced for a validation.
    """

    def __init__(
        self, generations: Generations, position: Position, interrupt: Interrupt, memories: dict, minutes: float, raw
    ):
        super().__init__()
        self.generations, self.position, self.interrupt = generations, position, interrupt
        self.memories, self.minutes, self.raw = {"position": position, **memories}, minutes, raw
        self._restoring = self._writer = self._error = None
        self._saved, self._cost = time.monotonic(), 0.0

    def begin(self, saved: tuple[dict, list[np.ndarray]]):
        """Go on from what `Generations.read` gave: memories now, variables when Keras begins the first epoch."""
        values, self._restoring = saved
        for name, memory in self.memories.items():
            memory.remember(values["memories"][name])
        self._random = values["random"]

    def on_epoch_begin(self, epoch, logs=None):
        if self._restoring is not None:  # not earlier: Keras has just reset the running means
            variables, arrays = self._variables(), self._restoring
            if self.position.new_stage:  # its optimizer begins anew
                arrays = arrays[: len(variables) - len(self.model.optimizer.variables)]
                variables = variables[: len(arrays)]
            _assign(variables, arrays)
            if not self.position.step:  # saved at an epoch's end, with its running means
                self.model.reset_metrics()
            set_random_states(self._random)
            self._restoring = None

    def on_train_batch_end(self, batch, logs=None):
        if self.interrupt.asked:
            self.save()
        elif time.monotonic() - self._saved >= 60 * self.minutes:
            self.save(wait=False)

    def on_epoch_end(self, epoch, logs=None):
        if self.interrupt.finished > epoch:
            self.position.next_epoch()
        if self.interrupt.asked:  # else its step is done, and its validation begins anew
            self.save()
        elif time.monotonic() - self._saved >= min(60 * self.minutes, self._cost / SHARE):
            self.save(wait=False)

    def save(self, wait: bool = True):
        """Copy the state now, and write it.

        Args:
            wait: until it is written; otherwise a thread writes it.

        Raises:
            UserError: this state, or the one before, cannot be written.
        """
        self.wait()
        begun = time.monotonic()
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        raw = self.raw()
        arrays = [np.array(raw.get(id(v), keras.ops.convert_to_numpy(v))) for v in self._variables()]
        memories = {name: one.memory() for name, one in self.memories.items()}
        values = {"memories": memories, "random": random_states(), "versions": versions()}
        self._saved = begun

        def write():
            try:
                self.generations.write(values, arrays)
            except UserError as error:
                self._error = error
            self._cost = time.monotonic() - begun

        self._writer = threading.Thread(target=write, name="state")
        self._writer.start()
        if wait:
            self.wait()

    def wait(self):
        """Wait until the last state is written.

        Raises:
            UserError: it cannot be written.
        """
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _variables(self) -> list[keras.Variable]:
        """In an order that the model and its optimizer alone determine; names count up in a process."""
        learned = self.model.optimizer.variables
        known = {id(v) for v in learned}
        model = {id(v): v for v in (*self.model.variables, *self.model.metrics_variables) if id(v) not in known}
        return [*model.values(), *learned]


def _assign(variables, arrays):
    """Set each variable.

    Raises:
        UserError: they are others than those saved.
    """
    here, there = ([tuple(one.shape) for one in part] for part in (variables, arrays))
    if here != there:
        raise UserError("the saved state is of another model: its variables have other shapes.", "resume")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
