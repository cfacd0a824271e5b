"""The errors that a user can mend; a command prints their text alone, without a traceback."""


class UserError(ValueError):
    """Something the user gave is wrong: the text names it, what was expected, what came, and the fix."""


class RecipeError(UserError):
    """A recipe or an override is wrong."""


class DataError(UserError):
    """A data set as a whole cannot be used: found before training starts."""


class BadPicture(Exception):
    """One picture cannot be read: the pipeline skips it, counts it and names it in a summary."""

    def __init__(self, path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self):  # an exception crosses process borders by its constructor's arguments
        return type(self), (self.path, self.reason)
