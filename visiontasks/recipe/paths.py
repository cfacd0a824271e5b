"""Adds recipe paths to errors: other modules name an argument, and a recipe has a path to it."""

import contextlib
import dataclasses
import re
from collections.abc import Iterable

from visiontasks.errors import UserError
from visiontasks.recipe.schema import DataRecipe, RunRecipe, TrainRecipe


@contextlib.contextmanager
def under(path: str, names: Iterable[str], whole: Iterable[str] = ()):
    """Put a path before the names of arguments in a UserError: `batch: expected …` becomes `data.batch: expected …`.

    A name is replaced at the start of the text before a colon, or anywhere before "=", as in `set batch=8`. It may have
    several parts, such as train.values. A name that begins with one of `whole` is a path already.
    """
    try:
        yield
    except UserError as error:
        name = rf"(?:{'|'.join(map(re.escape, names))})(?:\.\w+|\[\d+\])*"
        if whole:
            name = rf"(?!(?:{'|'.join(map(re.escape, whole))})\b)" + name
        text = re.sub(rf"^(?={name}:)|(?<![\w./])(?={name}=)", f"{path}.", str(error))
        raise type(error)(text) from error


@contextlib.contextmanager
def recipe_paths():
    """`under` each section of a recipe with the section's keys; a decorator too."""
    run, train, data = ([field.name for field in dataclasses.fields(r)] for r in (RunRecipe, TrainRecipe, DataRecipe))
    # `train` is a section, and a key of the section `data`
    with under("run", run), under("train", train), under("data", data, [f"train.{key}" for key in train]):
        yield
