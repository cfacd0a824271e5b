"""Errors that a user can fix; a command prints only their text, without a traceback."""

import contextlib
import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave is wrong: "ARGUMENT: what was expected, what came, and the fix".

    Args:
        text: all but the argument's name.
        argument: the name of the argument that is wrong, or a path below it such as augment[0].Blur.p; None if the
            error is about no argument. Callers put their own path before it, see `under`.
        fix: a value for the argument: the text ends in "Set ARGUMENT=fix."
    """

    def __init__(self, text: str, argument: str | None = None, fix=None):
        super().__init__(text)
        self.argument, self.fix = argument, fix

    def __str__(self):
        text = super().__str__()
        if self.argument is None:
            return text
        return f"{self.argument}: {text}" + ("" if self.fix is None else f" Set {self.argument}={self.fix}.")


class RecipeError(UserError):
    """A recipe or an override is wrong."""


class DataError(UserError):
    """A data set as a whole cannot be used; raised before training starts."""


class BadImage(Exception):
    """One image cannot be read: the pipeline skips it, counts it and names it in a summary."""

    def __init__(self, path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self):  # an exception crosses process borders by its constructor's arguments
        return type(self), (self.path, self.reason)


@contextlib.contextmanager
def under(path: str):
    """Put a path before the argument of a UserError of this block: `values` becomes `train.values`."""
    try:
        yield
    except UserError as error:
        if error.argument is not None:
            error.argument = f"{path}.{error.argument}"
        raise


def near(word: str, choices: Iterable[str]) -> str:
    """The end of an error text: the nearest name, if there is one, and the choices."""
    choices = sorted(choices)
    hint = meant(word, choices)
    listed = ", ".join(choices[:60]) + (", …" if len(choices) > 60 else "")
    return f"{hint} Choices: {listed}.".lstrip()


def meant(word: str, choices: Iterable) -> str:
    """A question with the nearest name, or an empty text if there is none."""
    close = difflib.get_close_matches(word, [choice for choice in choices if isinstance(choice, str)], n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else ""
