"""Checks a recipe's parts against their constructors' signatures and against each other, without importing them."""

import dataclasses

from visiontasks.errors import RecipeError, near
from visiontasks.recipe.schema import Recipe, TrainRecipe
from visiontasks.registry import catalog

ALL_CLASSES = "imagenet"  # `classes: imagenet`: a checkpoint's classes and last layer


def check(recipe: Recipe):
    """Check every part of a recipe against the signature of its constructor.

    Raises:
        RecipeError: an unknown part or argument (with the nearest name), a missing one, an invalid value, or parts that
            do not fit each other.
    """
    _part("backbones", recipe.backbone, "backbone", filled=("input_shape",))
    for name in recipe.parts:
        _check_head(recipe, name)
    for where, given in (("data.train", recipe.data.train), ("data.val", recipe.data.val)):
        several = {f"{where}[{i}]": spec for i, spec in enumerate(given)} if isinstance(given, list) else {where: given}
        for where, spec in several.items():
            if spec is not None:
                part = {key: value for key, value in spec.items() if key != "set"}  # the name of its label set
                _part("data/sources", part, where, key="source")
    spec = recipe.train.optimizer
    _arguments(catalog.optimizer(spec["name"], "train.optimizer.name"), spec, "train.optimizer")
    schedules, spec = catalog.functions("training/schedules"), recipe.train.schedule
    if spec["name"] not in schedules:
        raise RecipeError(f"train.schedule.name: unknown name {spec['name']!r}. {near(spec['name'], schedules)}")
    filled = ("learning_rate", "total_steps", "steps_per_epoch")
    _arguments(schedules[spec["name"]], spec, "train.schedule", filled=filled)


def head(recipe: Recipe, name: str) -> catalog.Part:
    """A recipe's head by its name."""
    return catalog.find("heads", recipe.parts[name]["name"], f"{_where(recipe, name)}.name")


def _where(recipe, name):
    return "head" if recipe.head is not None else f"heads.{name}"


def _part(folder, spec, where, key="name", filled=()):
    _arguments(catalog.find(folder, spec[key], f"{where}.{key}"), spec, where, key, filled)


def _arguments(part, spec, where, key="name", filled=()):
    catalog.check_arguments(part, {k: v for k, v in spec.items() if k != key}, where, filled)


def _check_head(recipe, name):
    spec, where, part = recipe.parts[name], _where(recipe, name), head(recipe, name)
    if part.task(spec) == "classification" and spec.get("classes") == ALL_CLASSES:
        changed = sorted({"hidden", "pooling", "activation"} & spec.keys())
        if changed:
            raise RecipeError(
                f"{where}.{changed[0]}: cannot be set with classes: {ALL_CLASSES}, whose layers are those of the "
                "checkpoint; leave it out, or give a number of classes to train."
            )
        spec = {key: value for key, value in spec.items() if key != "classes"}
    _arguments(part, spec, where, filled=("classes",))
    if not part.by_gradients:
        _check_without_gradients(recipe, part)
    if recipe.data.resize == "crop" and not catalog.task(part.task(spec)).definition.whole_image:
        raise RecipeError(
            f"data.resize: crop removes pixels that {where} must predict; use data.resize=letterbox or stretch."
        )
    if recipe.data.sizes and not part.any_size:
        raise RecipeError(f"data.sizes: {where} takes images of one size only; leave data.sizes out.")


def _check_without_gradients(recipe, part):
    """Raise unless a head that is fitted by statistics is alone, and nothing is said about gradients."""
    if len(recipe.parts) > 1:
        raise RecipeError(
            f"heads: {part.name} learns by statistics of the backbone's features, which the training of other heads "
            "changes. Train those first, then give it their best.keras as backbone.weights."
        )
    plain = TrainRecipe(precision=recipe.train.precision, devices=recipe.train.devices)
    for field in dataclasses.fields(TrainRecipe):
        if getattr(recipe.train, field.name) != getattr(plain, field.name):
            raise RecipeError(
                f"train.{field.name}: {part.name} is fitted in one pass, without gradients; leave it out."
            )
    if recipe.train.devices == "all":
        raise RecipeError(f"train.devices: {part.name} is fitted on one device; give gpu or auto.")
