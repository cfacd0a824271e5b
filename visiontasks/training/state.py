"""`TrainingState`: everything that decides what happens next in a training, saved on the fly and restored."""

import itertools
import re
import threading
import time
import warnings

import keras
import numpy as np

from visiontasks.errors import UserError
from visiontasks.training.generations import Generations, all_finite
from visiontasks.training.interrupt import Interrupt
from visiontasks.training.position import Position
from visiontasks.training.random_state import random_states, set_random_states
from visiontasks.training.run_directory import differing
from visiontasks.training.versions import changed, versions

SHARE = 0.01  # of a training's time that saving at the ends of epochs may take


class TrainingState(keras.callbacks.Callback):
    """Saves everything that decides what happens next, so that another process goes on bit for bit.

    That is: every variable of the model (weights, statistics, seed generators, running means of the losses) and of the
    optimizer (its moments, averages of the weights, counters, loss scale), the states of global random generators, the
    position, and what callbacks remember. It is saved every `minutes`, at the end of an epoch if that takes less than
    1% of the time, at an interrupt, and at the end of training. A save copies the variables; a thread writes them while
    training goes on. One that holds NaN or infinity is not written, with a warning: it is nothing to go on from.

    It is the last of the callbacks: what it saves has passed all others.

    Args:
        generations: where states are written.
        position: the Position.
        interrupt: the Interrupt.
        memories: {name: a callback with `memory()`, JSON-ready, and `remember(memory)`}.
        minutes: between saves within an epoch.
        raw: gives {id of a variable: its value} of weights that are replaced for a validation.
        each_epoch: whether to save before the first step and at the end of each epoch, whatever time it takes, so that
            no way back leads beyond an epoch's end.
        writes: whether states are written; of several processes one does it.
        marks: {file of the run: fingerprint} of what must be the same when training goes on.
    """

    def __init__(
        self,
        generations: Generations,
        position: Position,
        interrupt: Interrupt,
        memories: dict,
        minutes: float,
        raw,
        each_epoch: bool = False,
        writes: bool = True,
        marks: dict[str, str] | None = None,
    ):
        super().__init__()
        self.generations, self.position, self.interrupt = generations, position, interrupt
        self.memories, self.minutes, self.raw = {"position": position, **memories}, minutes, raw
        self.each_epoch = self._first = each_epoch
        self.writes, self.marks, self._unwritten = writes, marks or {}, None
        self._restoring = self._values = self._writer = self._error = self._place = None
        self._remembered, self._random = {}, None
        self._saved, self._cost = time.monotonic(), 0.0

    def begin(self) -> str:
        """Go on from the newest saved state: memories now, variables when Keras begins the first epoch.

        Returns:
            A sentence, if this is another machine or version.

        Raises:
            UserError: none is there, none can be read, or a file of the run has changed since.
        """
        saved = self.generations.read()
        if saved is None or not self._is_of_this_version(saved[0]):
            raise UserError(f"{self.generations.folder} has no state of this version. Train again.", "resume")
        if other := differing(saved[0]["marks"], self.marks):
            raise UserError(
                f"{', '.join(other)} in {self.generations.folder.parent} changed since the state was saved. Restore "
                "it, or start a new run.",
                "resume",
            )
        self._values, self._restoring = saved
        for name, memory in self.memories.items():
            memory.remember(self._values["memories"][name])
        self._remembered, self._place = self._memories(), self._now()
        return changed(self._values["versions"])

    def go_back(self, fault: Exception, note):
        """Go back to the newest saved state that is whole and finite, in the same process.

        What callbacks note of it is saved at once: after a kill, the next process knows it.

        Args:
            fault: why.
            note: called when the memories are those of that state, to change them.

        Raises:
            FloatingPointError: the text of the fault: no state was finite from the beginning.
            UserError: none can be read, or it cannot be written.
        """
        self.join()
        self._unwritten = None  # the fault says it
        self.wait()
        if not self.generations.files:
            raise FloatingPointError(str(fault)) from fault
        self.begin()
        note()
        self._remembered, self._place = self._memories(), self._now()
        self.generations.write({**self._values, "memories": self._remembered}, self._restoring)

    def on_epoch_begin(self, epoch, logs=None):
        self.restore()
        # before the end of an epoch that was stopped within: callbacks take what it had for a whole one
        self._remembered = self._memories()

    def restore(self):
        """Set the model's variables to what `begin` has read; the model is compiled for the stage."""
        if self._restoring is not None:  # not earlier: Keras has just reset the running means
            variables, arrays = self._variables(), self._restoring
            if self.position.new_stage:  # its optimizer begins anew
                arrays = arrays[: len(variables) - len(self.model.optimizer.variables)]
                variables = variables[: len(arrays)]
            self._check(variables, arrays)
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)
            if self.position.new_epoch:  # saved at an epoch's end, with its running means
                self.model.reset_metrics()
            self._random = self._values["random"]
            self._restoring = self._values = None  # as large as the model with its optimizer

    def on_train_batch_begin(self, batch, logs=None):
        if self._random is not None:  # PyTorch draws a number whenever it begins to read data
            set_random_states(self._random)
            self._random = None
        if self._first:  # here, so that what is drawn as reading begins counts in no process
            self._first = False
            if not self.generations.files:
                self.save(wait=False)

    def on_train_batch_end(self, batch, logs=None):
        if self.interrupt.asked:
            self.save()
        elif time.monotonic() - self._saved >= 60 * self.minutes:
            self.save(wait=False)

    def on_epoch_end(self, epoch, logs=None):
        self._random = self._random or random_states()  # until the next step
        if self.interrupt.finished > epoch:
            self.position.next_epoch()
            self._remembered = self._memories()
        if self.interrupt.asked:
            self.finish()
        elif self.each_epoch or time.monotonic() - self._saved >= min(60 * self.minutes, self._cost / SHARE):
            self.save(wait=False)

    def save(self, wait: bool = True):
        """Copy the state now, and write it.

        Args:
            wait: until it is written; otherwise a thread writes it.

        Raises:
            UserError: this state, or the one before, cannot be written.
        """
        if not self.writes:
            return
        self.wait()
        begun = time.monotonic()
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        raw = self.raw()
        arrays = [np.array(raw.get(id(v), keras.ops.convert_to_numpy(v))) for v in self._variables()]
        memories = {**self._remembered, "position": self.position.memory()}
        values = {"memories": memories, "random": self._random or random_states(), "versions": versions()}
        values |= {"variables": self._described(self._variables()), "marks": self.marks}
        self._saved, self._place = begun, self._now()

        def write():
            try:
                if all_finite(arrays):  # else the loss of the next step shows it
                    self.generations.write(values, arrays)
                else:
                    self._unwritten = memories["position"]
            except BaseException as error:  # it is raised where training waits for this
                self._error = error
            self._cost = time.monotonic() - begun

        # a second signal does not wait for it: what is half-written is not there
        self._writer = threading.Thread(target=write, name="state", daemon=True)
        self._writer.start()
        if wait:
            self.wait()

    def finish(self):
        """Save what has not been saved yet, and wait until it is written.

        Raises:
            UserError: it cannot be written.
        """
        if self._place != self._now():
            self.save()
        self.wait()

    def join(self):
        """Wait until nothing is being written; an error of it is kept."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None

    def wait(self):
        """Wait until the last state is written, or warn that it is not because it holds NaN or infinity.

        Raises:
            UserError: it cannot be written.
        """
        self.join()
        if self._unwritten is not None:
            (epoch, step), self._unwritten = (self._unwritten["epoch"], self._unwritten["step"]), None
            warnings.warn(
                f"the state after step {step} of epoch {epoch + 1} holds NaN or infinity and is not saved: a resumed "
                "run goes on from an earlier one, if there is one",
                stacklevel=2,
            )
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _variables(self) -> list[keras.Variable]:
        """In an order that the model and its optimizer alone determine; names count up in a process."""
        learned = self.model.optimizer.variables
        known = {id(v) for v in learned}
        model = {id(v): v for v in (*self.model.variables, *self.model.metrics_variables) if id(v) not in known}
        return [*model.values(), *learned]

    def _is_of_this_version(self, values):
        if values.keys() != {"memories", "random", "versions", "variables", "marks"}:
            return False
        there, here = values["memories"].keys(), self.memories.keys()
        return there == here if self.writes else there >= here

    def _memories(self):
        return {name: one.memory() for name, one in self.memories.items()}

    def _now(self):
        return self.position.epoch, self.position.step

    @staticmethod
    def _described(variables):
        """Of each variable its path without the numbers that count up in a process, its shape and its type."""
        return [[re.sub(r"_\d+", "", v.path), list(v.shape), v.dtype] for v in variables]

    def _check(self, variables, arrays):
        """Raise unless these variables are those that were saved.

        Raises:
            UserError: names the first that differs.
        """
        here, there = self._described(variables), self._values["variables"][: len(arrays)]
        if here != there:
            pairs = itertools.zip_longest(there, here)
            saved, built = next(pair for pair in pairs if pair[0] != pair[1])
            raise UserError(f"the saved state is of another model: it has {saved} where this has {built}.", "resume")
