"""Optimizers by name, with a schedule, clipping, a moving average, and slower rates for some variables."""

from collections.abc import Mapping

import keras

from visiontasks.errors import RecipeError
from visiontasks.registry import catalog
from visiontasks.training import fused_optimizers


def learning_rate(spec: dict, schedule: dict, total_steps: int, steps_per_epoch: int, scale: float = 1.0):
    """The Keras LearningRateSchedule of a recipe's optimizer and schedule, multiplied by `scale`."""
    default = {a.name: a.default for a in catalog.optimizer(spec["name"]).arguments}["learning_rate"]
    shape = dict(schedule)
    scheduled = catalog.functions("training/schedules")[shape.pop("name")].load()
    return scheduled(spec.get("learning_rate", default) * scale, total_steps, steps_per_epoch, **shape)


def optimizer(
    spec: dict,
    schedule: dict,
    total_steps: int,
    steps_per_epoch: int,
    clip_norm: float | None = None,
    ema: float | None = None,
    scale: float = 1.0,
    factors: Mapping[str, float] | None = None,
):
    """The Keras optimizer of a recipe.

    Args:
        spec: {name: a Keras optimizer, its arguments}.
        schedule: {name: a function of `visiontasks.training.schedules`, its arguments}.
        total_steps: number of updates.
        steps_per_epoch: updates per epoch.
        clip_norm: maximum global norm of the gradients (with `factors`, of each group with one factor).
        ema: momentum of the weights' moving average; None for no average.
        scale: factor of every learning rate and weight decay.
        factors: {variable path: factor of its learning rate and weight decay}; by default 1.

    Raises:
        RecipeError: Keras rejects an argument.
    """

    def one(factor):
        arguments = dict(spec)
        made = catalog.optimizer(arguments.pop("name"))
        arguments.pop("learning_rate", None)
        rate = learning_rate(spec, schedule, total_steps, steps_per_epoch, scale * factor)
        extra = {"global_clipnorm": clip_norm} if clip_norm else {}
        if ema:
            extra |= {"use_ema": True, "ema_momentum": ema}
        try:
            # on PyTorch, Keras's own classes update all variables at once
            faster = keras.backend.backend() == "tensorflow" and getattr(fused_optimizers, made.symbol, None)
            kind = faster or made.load()
            return kind(learning_rate=rate, **arguments, **extra)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"Keras's {made.symbol} rejects its arguments: {error}", "optimizer") from error

    others = {path: factor for path, factor in (factors or {}).items() if factor != 1}
    if not others:
        return one(1.0)
    groups = {factor: one(factor) for factor in sorted(set(others.values()))}
    # paths instead of a function, so that the optimizer can be saved with the model
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(one(1.0), {path: groups[factor] for path, factor in others.items()})
    )
