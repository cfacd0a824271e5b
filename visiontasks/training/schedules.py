"""Learning-rate schedules, by update. A recipe's `schedule: {name: …}` is a function of this file."""

import math

import keras

from visiontasks.arguments import Chance, NonNegative, Positive, Whole


def constant(learning_rate: float, total_steps: int, steps_per_epoch: int, warmup_epochs: NonNegative = 0):
    """A constant learning rate after a linear warm-up."""
    return _Warmup(learning_rate, round(warmup_epochs * steps_per_epoch), [], [1.0])


def cosine(
    learning_rate: float, total_steps: int, steps_per_epoch: int, warmup_epochs: NonNegative = 1, final: Chance = 0.0
):
    """A linear warm-up, at most a quarter of the updates, then half a cosine down to `final` times the rate.

    Loshchilov and Hutter 2017 (https://arxiv.org/abs/1608.03983), eq. 5, without restarts.
    """
    # training may have a single epoch, of a large data set
    warmup = min(round(warmup_epochs * steps_per_epoch), total_steps // 4)
    return _Cosine(learning_rate, warmup, max(1, total_steps - warmup), final)


def step(
    learning_rate: float,
    total_steps: int,
    steps_per_epoch: int,
    epochs: tuple[Whole, ...] = (),
    factor: Positive = 0.1,
    warmup_epochs: NonNegative = 0,
):
    """The rate times `factor` at the start of each of `epochs` (counted from 0), after a linear warm-up."""
    boundaries = [epoch * steps_per_epoch for epoch in sorted(epochs)]
    return _Warmup(
        learning_rate,
        round(warmup_epochs * steps_per_epoch),
        boundaries,
        [factor**i for i in range(len(boundaries) + 1)],
    )


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    def get_config(self):
        return dict(vars(self))  # nothing but the constructor's arguments


@keras.saving.register_keras_serializable(package="visiontasks")
class _Cosine(_Schedule):
    """Linear from 0 over `warmup_steps`, then half a cosine over `decay_steps` down to `final` times the rate.

    Equals Keras's CosineDecay, without its conditionals: an optimizer with weight decay computes the rate for each
    variable, and hundreds of conditionals take 10 seconds to trace.
    """

    def __init__(self, learning_rate, warmup_steps, decay_steps, final):
        super().__init__()
        self.learning_rate, self.warmup_steps = learning_rate, warmup_steps
        self.decay_steps, self.final = decay_steps, final

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        done = keras.ops.clip((step - self.warmup_steps) / self.decay_steps, 0.0, 1.0)
        rate = self.final + (1 - self.final) * 0.5 * (1 + keras.ops.cos(math.pi * done))
        if self.warmup_steps:
            rate = rate * keras.ops.minimum(step / self.warmup_steps, 1.0)
        return self.learning_rate * rate


@keras.saving.register_keras_serializable(package="visiontasks")
class _Warmup(_Schedule):
    """Linear from 0 over `warmup_steps`, then piecewise constant: `factors[i]` times the rate up to `boundaries[i]`."""

    def __init__(self, learning_rate, warmup_steps, boundaries, factors):
        super().__init__()
        self.learning_rate, self.warmup_steps = learning_rate, warmup_steps
        self.boundaries, self.factors = list(boundaries), list(factors)

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        rate = keras.ops.convert_to_tensor(self.learning_rate * self.factors[0], "float32")
        for boundary, factor in zip(self.boundaries, self.factors[1:], strict=True):
            rate = keras.ops.where(step >= boundary, self.learning_rate * factor, rate)
        return rate * keras.ops.minimum(step / self.warmup_steps, 1.0) if self.warmup_steps else rate
