"""Where two recipes differ, for a run that goes on."""

import dataclasses
from collections.abc import Mapping

from visiontasks.recipe.schema import Recipe

# none of these changes what is learned, unless a loss is NaN
FREE_DATA, FREE_TRAIN = ("workers", "worker_kind"), ("save_minutes", "on_nan", "stop_file")
FREE = (*(f"data.{key}" for key in FREE_DATA), *(f"train.{key}" for key in FREE_TRAIN), "run.dir", "name")
OPEN = {"train.precision": "auto", "data.bits": None, "init": None}  # what a run resolves when it begins
PRETRAINED = ("weights", "backbone.weights")  # what a run with `init` does without


def differences(before: Recipe, asked: Recipe) -> list[str]:
    """The keys whose values differ, each in a few words, but for those of `FREE`.

    What a run resolved when it began, where `asked` leaves it open, does not differ.
    """
    one, other = (dict(_flat(dataclasses.asdict(recipe))) for recipe in (before, asked))
    free = FREE + (PRETRAINED if before.init is not None else ())
    return [
        f"{key} is {_text(one.get(key))}, asked for is {_text(other.get(key))}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key) and key not in free and other.get(key) != OPEN.get(key, other)
    ]


def resumed_recipe(before: Recipe, asked: Recipe) -> Recipe:
    """The recipe of a run that goes on, with what is `FREE` as it is asked for now."""
    data = dataclasses.replace(before.data, **{key: getattr(asked.data, key) for key in FREE_DATA})
    return before.replace(
        data=data, train=dataclasses.replace(before.train, **{key: getattr(asked.train, key) for key in FREE_TRAIN})
    )


def _text(value):
    return "null" if value is None else value


def _flat(value, where=""):
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _flat(part, f"{where}.{key}" if where else str(key))
    else:
        yield where, list(value) if isinstance(value, tuple) else value
