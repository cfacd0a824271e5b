"""Errors that a user can fix; a command prints only their text, without a traceback."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user gave is wrong: the text names it, what was expected, what came, and the fix."""


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
