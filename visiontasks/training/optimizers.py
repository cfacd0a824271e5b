"""Optimizers by name, with a schedule, clipping, a moving average, and a slower rate for some variables."""

import keras

from visiontasks import catalog
from visiontasks.errors import RecipeError


def optimizer(
    spec: dict,
    schedule: dict,
    total_steps: int,
    steps_per_epoch: int,
    clip_norm: float | None = None,
    ema: float | None = None,
    slow=(),
    factor: float = 1.0,
):
    """A Keras optimizer as a recipe asks for it.

    Args:
        spec: {name: a Keras optimizer, its arguments}.
        schedule: {name: a function of `visiontasks.training.schedules`, its arguments}.
        total_steps: updates until the end.
        steps_per_epoch: updates an epoch.
        clip_norm: largest norm of all gradients together (with `slow`, of each of the two groups).
        ema: momentum of the weights' moving average; None for none.
        slow: variables that learn at `factor` times the rate, weight decay included.
        factor: see `slow`.

    Raises:
        RecipeError: Keras refuses an argument.
    """

    def one(scale):
        arguments = dict(spec)
        made = catalog.optimizer(arguments.pop("name"))
        default = {a.name: a.default for a in made.arguments}["learning_rate"]
        shape = dict(schedule)
        scheduled = catalog.functions("training/schedules")[shape.pop("name")].load()
        rate = arguments.pop("learning_rate", default) * scale
        extra = {"global_clipnorm": clip_norm} if clip_norm else {}
        if ema:
            extra |= {"use_ema": True, "ema_momentum": ema}
        rate = scheduled(rate, total_steps, steps_per_epoch, **shape)
        try:
            return made.load()(learning_rate=rate, **arguments, **extra)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"train.optimizer: Keras's {made.symbol} refuses its arguments: {error}") from error

    if not slow or factor == 1:
        return one(1.0)
    default = one(1.0)
    # exact paths, not a function, so that the optimizer can be saved with the model
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(default, dict.fromkeys([v.path for v in slow], one(factor)))
    )
