"""The memory that a training step of a recipe takes, by estimate."""

import dataclasses
import math

from visiontasks import build
from visiontasks.recipe.schema import Recipe
from visiontasks.training.estimate import step_bytes
from visiontasks.training.random_state import random_states, set_random_states


def step_memory(model, recipe: Recipe, loader) -> dict[str, int]:
    """`step_bytes` of a recipe's VisionModel; with several sizes of images, at the largest.

    Args:
        model: the VisionModel.
        recipe: its recipe.
        loader: the training Loader, which knows the names of the classes.
    """
    if recipe.data.sizes:  # activations can be counted for one size only
        states = random_states()
        largest = dataclasses.replace(recipe.data, size=max(recipe.data.sizes, key=math.prod), sizes=[])
        backbone = {key: value for key, value in recipe.backbone.items() if key != "weights"}
        model = build.model(recipe.replace(data=largest, backbone={**backbone, "weights": None}, weights=None), loader)
        set_random_states(states)  # what is trained draws as if this one had not been built
    return step_bytes(model, recipe.data.batch)
