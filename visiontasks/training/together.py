"""Callbacks of a training by several processes: they stop after one step, and score one validation set."""

import collections
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np

from visiontasks.evaluation.evaluator import Evaluation, evaluate
from visiontasks.signals import Stop, Stopped
from visiontasks.training.callbacks import Score
from visiontasks.training.interrupt import Interrupt
from visiontasks.training.processes import Processes


class JointStop(Stop):
    """A Stop that asks all processes after the same step, whichever of them has got the signal.

    Args:
        processes: the Processes.
        file: as that of Stop.
    """

    def __init__(self, processes: Processes, file: str | Path | None = None):
        super().__init__()
        self.processes, self._here, self._parted = processes, Stop(file), False

    def handling(self, then=None):
        """A context in which signals come here; what they ask for waits for the others."""
        return self._here.handling()

    def poll(self) -> bool:
        """Whether all processes have agreed to stop."""
        if self._parted and self._here.poll():
            self.asked = self._here.asked
        return bool(self.asked)

    def agree(self) -> bool:
        """Whether something has asked any process; all of them call this."""
        if not self.asked and self.processes.any(self._here.poll()):
            self.asked = next(filter(None, self.processes.collect(self._here.asked)))
        return bool(self.asked)

    def check_all(self):
        """As `check`; all processes call this.

        Raises:
            Stopped: something has asked any of them.
        """
        self.agree()
        self.check()

    def part(self):
        """From now on this process stops by itself: it has no step left with the others."""
        self._parted = True


class JointInterrupt(Interrupt):
    """An Interrupt whose stop is a JointStop, with its arguments."""

    def __init__(self, processes: Processes, file: str | Path | None = None):
        super().__init__()
        self.stop = JointStop(processes, file)

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # the step has ended: its exchange and this one must not overlap
        if self.stop.agree():
            self._end()


class JointScore(Score):
    """A Score of predictions that all processes make, and the first one scores; all get its result."""

    def __init__(self, loader, tasks: dict, interrupt: JointInterrupt, processes: Processes):
        super().__init__(loader, tasks, interrupt)
        self.processes, self._predict = processes, None

    def _evaluate(self):
        self._predict = self._predict or local_prediction(self.model)
        batches = validated(self.model, self.loader, self.processes, self._predict, self.interrupt.stop.check_all)
        result = None
        try:
            if self.processes.first:
                made = evaluate(self.model, self.loader, self.tasks, losses=True, batches=batches)
                result = made.metrics, made.score, made.losses
            else:
                collections.deque(batches, maxlen=0)
        except Stopped:  # in all of them
            return None
        metrics, score, losses = self.processes.of_first(result)
        return Evaluation(metrics, score, {}, [], losses)


def validated(
    model,
    loader,
    processes: Processes,
    predict: Callable | None = None,
    on_turn: Callable[[], object] = lambda: None,
    on_end: Callable[[], object] = lambda: None,
) -> Iterator[tuple]:
    """One pass over a validation set, whose batches the processes predict in turn: what `evaluate` takes as `batches`.

    A batch is predicted by one process, as one process alone predicts it, so that the split changes no bit.

    Args:
        model: the VisionModel, on all processes.
        loader: of this process: the first one's gives all batches with their samples, the others' those of their turns.
        processes: the Processes.
        predict: of `local_prediction`.
        on_turn: called before each turn by all processes.
        on_end: called after the last turn.

    Yields:
        In the first process (samples, predictions, {loss term: total and count}) of each batch; in others nothing.
    """
    predict, batches = predict or local_prediction(model), loader.with_samples()
    for _ in range(math.ceil(len(loader) / processes.count) if processes.first else len(loader)):
        on_turn()
        turn = list(itertools.islice(batches, processes.count if processes.first else 1))
        made = processes.gather(model.validate_on_batch(turn[0][0], predict))
        if processes.first:
            for number, (_, samples) in enumerate(turn):
                predictions, sums = keras.tree.map_structure(lambda array, n=number: array[n], made)
                yield samples, predictions, sums
    on_end()


def local_prediction(model) -> Callable:
    """What `model.predict_on_batch` does, by this process alone: on its first device, with its copy of the weights.

    JAX's. It is compiled once for each shape.
    """
    import jax

    step = jax.jit(lambda state, x: model.predict_step(state, (x,))[0])

    def predict(x):
        variables = model.trainable_variables, model.non_trainable_variables
        state = tuple([v.value.addressable_data(0) for v in those] for those in variables)
        distribution = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            return keras.tree.map_structure(np.array, step(state, x))
        finally:
            keras.distribution.set_distribution(distribution)

    return predict
