"""`NonFinite`: what a loss, or weights, of NaN or infinity do to a training: it ends, or goes back."""

from collections.abc import Callable
from typing import Literal

import keras
import numpy as np

from visiontasks.training.generations import all_finite
from visiontasks.training.position import Position

MOST = 3  # times that training goes back without ending an epoch: another rate or recipe is needed then
MOST_IN_ALL = 6  # halvings of the rate: at 1/64 of it little is learned, and an image may spoil a batch of each epoch
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
    that did it is left out instead of the one that was blamed; that costs no second halving of the learning rate.
    Gradients that a LossScaleOptimizer skips change no weight and are none of this.

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
        self._said = ""

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
        back, again = f"epoch {self.position.epoch + 1}, {_steps(self.position.step)} of it done", ""
        corrects = self._corrects(fault.number, fault.by_weights)
        if corrects:
            self.position.left_out.discard(self._noticed)  # its loss was that of weights which were NaN already
            again = f" That of {self._at(self._noticed)} is trained on again."
        self.position.leave_out(fault.number)
        if not corrects:  # else what the wrong batch has cost stands for the right one
            self.halved.append(self.position.number)
            self._count += 1
        self._noticed = fault.number
        self._said = f"goes back to {back}, and leaves out the batch of {self._at(fault.number)}.{again}"

    def text(self) -> str:
        """Sentences on the last way back."""
        return (
            f"Training {self._said} The learning rate is {self.factor:g} of what it was. ({self._count} of at most "
            f"{MOST} times before an epoch ends, {len(self.halved)} of at most {MOST_IN_ALL} in all.)"
        )

    def _corrects(self, number, by_weights):
        """Whether a fault shows that the last one was not its batch's."""
        return by_weights and self._noticed is not None and number < self._noticed

    def _at(self, number):
        epoch, step = divmod(number, len(self.position.loader))
        return f"epoch {epoch + 1}, step {step + 1}"

    def _weights_are_finite(self):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        variables = (*self.model.variables, *self.model.optimizer.variables)
        return all_finite(keras.ops.convert_to_numpy(variable) for variable in variables)

    def _raise(self, what, terms, by_weights):
        files = "\n  ".join(self.position.loader.names_of(*divmod(self._last, len(self.position.loader))))
        text = f"{what} at {self._at(self._last)}{terms}."
        often = self._count >= MOST or len(self.halved) >= MOST_IN_ALL
        if self.goes_back and (not often or self._corrects(self._last, by_weights)):
            raise GoBack(f"{text} Its images:\n  {files}", self._last, by_weights)
        tried = ""
        if self.goes_back and self._count >= MOST:
            tried = f" Training went back {MOST} times without ending an epoch."
        elif self.goes_back:
            tried = (
                f" Training went back {len(self.halved)} times. An image may do it again in each epoch: look at these."
            )
        raise FloatingPointError(f"{text}{tried} {ADVICE} Its images:\n  {files}")


def _steps(count):
    return f"{count} step{'s' * (count != 1)}"
