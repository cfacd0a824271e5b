"""Gives arrays from another framework's checkpoint to a Keras model, by name, and says exactly what does not fit."""

import numpy as np

from visiontasks.errors import UserError


def conv_kernel(array: np.ndarray) -> np.ndarray:
    """A convolution's weight from PyTorch's (out, in, height, width) to Keras's (height, width, in, out)."""
    return array.transpose(2, 3, 1, 0)


def depthwise_kernel(array: np.ndarray) -> np.ndarray:
    """A depthwise convolution's weight from (channels, 1, height, width) to (height, width, channels, 1)."""
    return array.transpose(2, 3, 0, 1)


def variables_by_name(model) -> dict:
    """{"layer/variable": variable} of a flat functional model."""
    return {f"{layer.name}/{v.name}": v for layer in model.layers for v in layer.weights}


_LINE = "\n  "


def listed(problems: list[str], separator: str, most: int = 20) -> str:
    """The first problems, and how many more there are."""
    more = [f"… and {len(problems) - most} more"] if len(problems) > most else []
    return separator.join(problems[:most] + more)


def assign(model, arrays: dict[str, np.ndarray], source: str, strict: bool = True) -> list[str]:
    """Assign {"layer/variable": array} to a model; nothing is assigned unless everything fits (or `strict` is off).

    Args:
        model: a flat functional Keras model.
        arrays: what to assign.
        source: the file they came from, for the error.
        strict: whether a difference is an error; otherwise it is skipped.

    Returns:
        A line for each thing skipped; empty if all fitted.

    Raises:
        UserError: something is missing, unexpected or of the wrong shape; the text lists it. If not `strict`, nothing
            fits at all.
    """
    variables = variables_by_name(model)
    problems = [f"missing: {name}" for name in variables if name not in arrays]
    problems += [f"unexpected: {name}" for name in arrays if name not in variables]
    fitting = [name for name in variables if name in arrays]
    wrong = [name for name in fitting if tuple(variables[name].shape) != arrays[name].shape]
    problems += [f"wrong shape: {n} expected {tuple(variables[n].shape)}, got {tuple(arrays[n].shape)}" for n in wrong]
    if problems and (strict or len(wrong) == len(fitting)):  # a file of which nothing fits is another network's
        raise UserError(f"weights: {source} does not fit {model.name}:\n  {listed(problems, _LINE)}")
    for name in fitting:
        if name not in wrong:
            variables[name].assign(arrays[name])
    return problems
