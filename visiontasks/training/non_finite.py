"""`NonFinite`: what a loss, or weights, of NaN or infinity do to a training: it ends, or goes back."""

from collections.abc import Callable
from typing import Literal

import keras
import numpy as np

from visiontasks.training.generations import all_finite
from visiontasks.training.position import Position

MOST = 3  # times that training goes back without ending an epoch: another rate or recipe is needed then
ADVICE = "Try a lower learning_rate, clip_norm=1 or precision=float32."


class GoBack(Exception):
    """Training goes back to its last saved state; the text says why."""

    def __init__(self, text: str, number: int, by_weights: bool):
        super().__init__(text)
        self.number, self.by_weights = number, by_weights


class NonFinite(keras.callbacks.Callback):
    """Notices a step with a loss that is not finite, and an epoch that leaves weights that are not.

    A loss shows it one step late if a gradient alone was not finite: the weights of that step are NaN, and the loss of
    the next. So after a way back the weights are looked at after each step, up to where it was noticed, and the batch
    that did it is left out. Gradients that a LossScaleOptimizer skips change no weight and are none of this.

    It is the first of the callbacks: after an epoch it looks at the weights before others use them.

    Args:
        position: the Position.
        on_nan: "stop" or "rollback".

    Attributes:
        halved: the number of each batch from which on the learning rate is half of what it was.

    Raises:
        FloatingPointError: names the epoch, the step, the loss terms and the files.
        GoBack: the same, if `on_nan` is "rollback".
    """

    def __init__(self, position: Position, on_nan: Literal["stop", "rollback"]):
        super().__init__()
        self.position, self.goes_back = position, on_nan == "rollback"
        self.halved, self._noticed, self._count, self._last = [], None, 0, 0

    def memory(self) -> dict:
        return {"halved": list(self.halved), "noticed": self._noticed, "count": self._count}

    def remember(self, memory: dict):
        self.halved, self._noticed, self._count = list(memory["halved"]), memory["noticed"], memory["count"]

    @property
    def factor(self) -> float:
        """Of the learning rate."""
        return 0.5 ** len(self.halved)

    def rate(self, schedule: Callable[[int], float], begin: int) -> Callable[[int], float]:
        """The learning rate of batch n, from 0, of a stage whose first batch has the number `begin`.

        Args:
            schedule: gives that of update n without a way back; a batch that is left out is no update.
        """

        def rate(n):
            left_out = sum(begin <= number < begin + n for number in self.position.left_out)
            return schedule(n - left_out) * 0.5 ** sum(number <= begin + n for number in self.halved)

        return rate

    def on_train_batch_end(self, batch, logs=None):
        self._last = self.position.number  # which counts this step only after this callback
        if not np.isfinite(logs["loss"]):
            terms = ", ".join(f"{key} {value}" for key, value in logs.items())
            self._raise(f"The loss is {logs['loss']}", f" ({terms})", by_weights=False)
        if self._noticed is not None and self._last < self._noticed and not self._weights_are_finite():
            self._raise("Weights are not finite", "", by_weights=True)

    def on_epoch_end(self, epoch, logs=None):
        if not self._weights_are_finite():
            self._raise("Weights are not finite", f" (loss {logs['loss']})", by_weights=True)
        if self._noticed is None or self._noticed < (epoch + 1) * len(self.position.loader):
            self._count = 0

    def go_back(self, fault: GoBack):
        """Note that training is again where its last saved state was, and goes on without the batch of a fault."""
        if fault.by_weights and self._noticed is not None and fault.number < self._noticed:
            self.position.left_out.discard(self._noticed)  # its loss was that of weights which were NaN already
        self.position.leave_out(fault.number)
        self.halved.append(self.position.number)
        self._noticed, self._count = fault.number, self._count + 1

    def text(self) -> str:
        """A sentence on the last way back."""
        step = f"epoch {self.position.epoch + 1}, step {self.position.step + 1}"
        return (
            f"Training goes on from its saved state at {step}, without that batch, at {self.factor:g} of the learning "
            f"rate. ({self._count} of at most {MOST} times before an epoch ends.)"
        )

    def _weights_are_finite(self):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        variables = (*self.model.variables, *self.model.optimizer.variables)
        return all_finite(keras.ops.convert_to_numpy(variable) for variable in variables)

    def _raise(self, what, terms, by_weights):
        epoch, step = divmod(self._last, len(self.position.loader))
        files = "\n  ".join(self.position.loader.names_of(epoch, step))
        text = f"{what} at epoch {epoch + 1}, step {step + 1}{terms}."
        if self.goes_back and self._count < MOST:
            raise GoBack(f"{text} Its images:\n  {files}", self._last, by_weights)
        tried = f" Training went back {MOST} times without ending an epoch." if self.goes_back else ""
        raise FloatingPointError(f"{text}{tried} {ADVICE} Its images:\n  {files}")
