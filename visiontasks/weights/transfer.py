"""Assigns arrays of another framework's checkpoint to a Keras model by name, and reports exactly what does not fit."""

import numpy as np

from visiontasks.errors import UserError


def conv_kernel(array: np.ndarray) -> np.ndarray:
    """A convolution's kernel from PyTorch's (out, in, height, width) to Keras's (height, width, in, out)."""
    return array.transpose(2, 3, 1, 0)


def depthwise_kernel(array: np.ndarray) -> np.ndarray:
    """A depthwise convolution's kernel from (channels, 1, height, width) to (height, width, channels, 1)."""
    return array.transpose(2, 3, 0, 1)


def variables_by_name(model) -> dict:
    """{"layer/variable": variable} of a flat functional model."""
    return {f"{layer.name}/{v.name}": v for layer in model.layers for v in layer.weights}


_LINE = "\n  "


def listed(problems: list[str], separator: str, most: int = 20) -> str:
    """The first problems, and the number of further ones."""
    more = [f"… and {len(problems) - most} more"] if len(problems) > most else []
    return separator.join(problems[:most] + more)


def assign(model, arrays: dict[str, np.ndarray], source: str, strict: bool = True) -> list[str]:
    """Assign {"layer/variable": array} to a model. Unless `strict` is False, everything must fit before any assignment.

    Args:
        model: a flat functional Keras model.
        arrays: the values.
        source: their file, for the error.
        strict: whether a mismatch is an error; otherwise it is skipped.

    Returns:
        One line for each thing skipped; empty if everything fits.

    Raises:
        UserError: an array is missing, unexpected or of the wrong shape; the text lists them. With `strict` False: no
            array fits.
    """
    return assign_variables(model.name, variables_by_name(model), arrays, source, strict)


def assign_variables(name: str, variables: dict, arrays: dict, source: str, strict: bool = True) -> list[str]:
    """As `assign`, for the variables {name: variable} of a model called `name`."""
    problems = [f"missing: {key}" for key in variables if key not in arrays]
    problems += [f"unexpected: {key}" for key in arrays if key not in variables]
    fitting = [key for key in variables if key in arrays]
    wrong = [key for key in fitting if tuple(variables[key].shape) != arrays[key].shape]
    problems += [f"wrong shape: {n} expected {tuple(variables[n].shape)}, got {tuple(arrays[n].shape)}" for n in wrong]
    if problems and (strict or len(wrong) == len(fitting)):  # if nothing fits, the file is of another network
        raise UserError(f"{source} does not fit {name}:\n  {listed(problems, _LINE)}", "weights")
    for key in fitting:
        if key not in wrong:
            variables[key].assign(arrays[key])
    return problems
